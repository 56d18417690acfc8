//! What one analysis carries along, and the scope in which names are looked up.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use pyrite_functions::cast::CastMode;
use pyrite_proto::connect;
use pyrite_proto::error::SparkError;

use crate::cache::Remembered;
use crate::catalog::Catalog;
use crate::errors::{Result, from_datafusion};
use crate::leaves::{Leaf, LoadedLeaf};
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::session::RelationExtensions;

static NEXT_COLUMN: AtomicU64 = AtomicU64::new(1);

/// A name that no other column in this process has.
///
/// Only plain lower-case characters go in, because a few places in DataFusion parse names.
pub(crate) fn unique_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .take(24)
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let id = NEXT_COLUMN.fetch_add(1, Ordering::Relaxed);
    format!("{plain}#{id}")
}

/// One analysis. Pure: whatever needs I/O is loaded before (see [`crate::leaves`]).
pub(crate) struct Analyzer<'a> {
    pub catalog: &'a Catalog,
    pub conf: &'a BTreeMap<String, String>,
    pub ansi: bool,
    pub time_zone: String,
    pub now: DateTime<Utc>,
    pub partitions: usize,
    pub leaves: &'a HashMap<Leaf, LoadedLeaf>,
    pub remembered: &'a [Remembered],
    pub missing: RefCell<Option<Leaf>>,
    pub references: RefCell<Vec<(i64, connect::Relation)>>,
    pub extensions: &'a dyn RelationExtensions,
}

impl Analyzer<'_> {
    pub fn cast_mode(&self) -> CastMode {
        if self.ansi {
            CastMode::Ansi
        } else {
            CastMode::Legacy
        }
    }

    /// A leaf's contents, or a note that it has to be loaded before analysis starts again.
    pub fn leaf(&self, leaf: Leaf) -> Result<&LoadedLeaf> {
        match self.leaves.get(&leaf) {
            Some(loaded) => Ok(loaded),
            None => {
                *self.missing.borrow_mut() = Some(leaf);
                Err(SparkError::other("a table is not loaded yet"))
            }
        }
    }

    /// The directory of tables.
    pub fn warehouse(&self) -> String {
        let path = self
            .setting("spark.sql.warehouse.dir")
            .unwrap_or("spark-warehouse");
        match crate::read::local_path(path) {
            Ok(path) => format!("file:{}", path.display()),
            Err(_) => path.to_owned(),
        }
    }

    pub fn setting(&self, key: &str) -> Option<&str> {
        self.conf.get(key).map(String::as_str)
    }
}

/// An expression with its type and its name in Spark.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    pub expr: Expr,
    /// Text inside larger expressions: Spark's `toPrettySQL`.
    pub name: String,
    /// Name of the column when it differs: `b` for `a.b`, the alias, the column under a cast.
    pub column_name: Option<String>,
    pub data_type: DataType,
    pub nullable: bool,
    pub metadata: Option<String>,
    /// The column that this is, unchanged.
    pub source: Option<ResolvedField>,
    /// Claims that the user named it.
    pub aliased: bool,
    /// First and last field of an interval (0 is the day, or the year), where known.
    pub interval: Option<(i32, i32)>,
}

impl Typed {
    pub fn output_name(&self) -> &str {
        self.column_name.as_deref().unwrap_or(&self.name)
    }

    pub fn spark_type(&self) -> String {
        pyrite_functions::type_names::sql_name(&self.data_type)
    }

    /// The same value under another name, as a bare expression.
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.column_name = Some(name.into());
        self
    }
}

/// Where names are looked up.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    pub fields: &'a [ResolvedField],
    /// Schema of the plan that expressions run over.
    pub schema: DFSchemaRef,
    /// The query around this one.
    pub outer: Option<&'a Scope<'a>>,
    /// Items of the select list that may be used by name.
    pub aliases: &'a [Typed],
    /// Claims that aliases win over columns, as in `HAVING` and `ORDER BY`.
    pub aliases_first: bool,
    /// Variables of the lambda functions around, innermost last.
    pub lambda: Vec<LambdaVariable>,
}

/// A variable of a lambda function.
#[derive(Debug, Clone)]
pub(crate) struct LambdaVariable {
    pub name: String,
    pub typed: Typed,
}

impl<'a> Scope<'a> {
    pub fn of(plan: &'a ResolvedPlan, outer: Option<&'a Scope<'a>>) -> Self {
        Self {
            fields: &plan.fields,
            schema: Arc::clone(plan.plan.schema()),
            outer,
            aliases: &[],
            aliases_first: false,
            lambda: vec![],
        }
    }

    pub fn empty(outer: Option<&'a Scope<'a>>) -> Self {
        Self {
            fields: &[],
            schema: Arc::new(DFSchema::empty()),
            outer,
            aliases: &[],
            aliases_first: false,
            lambda: vec![],
        }
    }

    pub fn with_aliases(&self, aliases: &'a [Typed], aliases_first: bool) -> Scope<'a> {
        Scope {
            aliases,
            aliases_first,
            ..self.clone()
        }
    }

    /// Finds the type of an expression over this scope's plan.
    pub fn typed(&self, expr: Expr, name: impl Into<String>) -> Result<Typed> {
        let (_, field) = expr
            .to_field(self.schema.as_ref())
            .map_err(from_datafusion)?;
        Ok(Typed {
            expr,
            name: name.into(),
            column_name: None,
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            metadata: None,
            source: None,
            aliased: false,
            interval: None,
        })
    }
}

/// Runs a step of a recursion with room on the stack: plans and expressions nest as deep as
/// programs make them.
pub(crate) fn with_stack<T>(step: impl FnOnce() -> T) -> T {
    const RED_ZONE_BYTES: usize = 256 << 10;
    const GROWTH_BYTES: usize = 4 << 20;
    stacker::maybe_grow(RED_ZONE_BYTES, GROWTH_BYTES, step)
}

/// A column of a plan by its internal name.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

impl ResolvedField {
    pub(crate) fn expr(&self) -> Expr {
        column(&self.column)
    }
}

impl ResolvedPlan {
    pub(crate) fn new(plan: LogicalPlan, fields: Vec<ResolvedField>) -> Self {
        Self {
            plan,
            fields,
            finish: None,
        }
    }

    /// The same columns over another plan, as filters and sorts leave them.
    pub(crate) fn over(self, plan: LogicalPlan) -> Self {
        Self { plan, ..self }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.visible().map(|f| f.name.clone()).collect()
    }
}

/// The name of a table: the first part says what it holds, so that plans can be compared, the
/// second one is its own. Tables that hold the same must get the same `content`.
pub(crate) fn table_reference(name: &str, content: &impl Hash) -> TableReference {
    let half = |seed: u8| {
        let mut hasher = std::hash::DefaultHasher::new();
        (seed, content).hash(&mut hasher);
        hasher.finish()
    };
    TableReference::partial(
        format!("{:016x}{:016x}", half(0), half(1)),
        unique_name(name),
    )
}

/// Starts a plan over a table whose columns get unique names. Tables that hold the same must
/// get the same `content`.
pub(crate) fn scan(
    name: &str,
    content: &impl Hash,
    provider: Arc<dyn TableProvider>,
) -> Result<(LogicalPlan, Vec<ResolvedField>)> {
    let schema = provider.schema();
    let source = datafusion::datasource::provider_as_source(provider);
    let reference = table_reference(name, content);
    let builder =
        LogicalPlanBuilder::scan(reference.clone(), source, None).map_err(from_datafusion)?;
    let mut expressions = vec![];
    let mut fields = vec![];
    for field in schema.fields() {
        let plain = crate::types::output_type(field.data_type());
        let from = Expr::Column(Column::new(Some(reference.clone()), field.name()));
        let from = if plain == *field.data_type() {
            from
        } else {
            datafusion::logical_expr::cast(from, plain.clone())
        };
        let resolved = ResolvedField::new(field.name(), plain, field.is_nullable());
        expressions.push(from.alias(&resolved.column));
        fields.push(resolved);
    }
    let plan = builder
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    Ok((plan, fields))
}

impl ResolvedField {
    /// A new column with a unique internal name.
    pub(crate) fn new(name: &str, data_type: DataType, nullable: bool) -> Self {
        Self {
            name: name.to_owned(),
            column: unique_name(name),
            data_type,
            nullable,
            metadata: None,
            qualifier: vec![],
            plan_ids: vec![],
            hidden: false,
        }
    }
}
