//! Tables by name, files, SQL text, catalog queries.

use std::collections::BTreeMap;

use pyrite_proto::connect;
use pyrite_proto::connect::read::ReadType;
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::error::SparkError;

use crate::analyzer::{Analyzer, Scope};
use crate::errors::{self, Result};
use crate::leaves::{self, FileScan, Leaf, LoadedLeaf};
use crate::resolved::ResolvedPlan;
use crate::sqltext;

/// Formats that name their files in `` format.`path` ``.
const FILE_FORMATS: [&str; 5] = ["parquet", "csv", "json", "text", "orc"];

impl Analyzer<'_> {
    pub(super) fn read(&self, read: &connect::Read) -> Result<ResolvedPlan> {
        if read.is_streaming {
            return Err(SparkError::not_supported("structured streaming"));
        }
        match &read.read_type {
            Some(ReadType::NamedTable(table)) => self.table(&table.unparsed_identifier),
            Some(ReadType::DataSource(source)) => {
                let default = self
                    .setting("spark.sql.sources.default")
                    .unwrap_or("parquet");
                self.files(leaves::file_scan(source, default)?)
            }
            None => Err(errors::invalid_message("Read.read_type")),
        }
    }

    fn table(&self, name: &str) -> Result<ResolvedPlan> {
        let parts = sqltext::identifier(name)?;
        if let [name] = parts.as_slice()
            && let Some(relation) = self.referenced(name)
        {
            return self.relation(&relation, None);
        }
        if let Some(view) = self.catalog.view(&parts) {
            let mut plan = super::join::fresh_names(view.plan.clone())?;
            for field in &mut plan.fields {
                field.plan_ids.clear();
                field.qualifier = if parts.len() == 2 {
                    vec![parts[0].to_lowercase(), view.name.clone()]
                } else {
                    vec![view.name.clone()]
                };
            }
            return Ok(plan);
        }
        if let [format, path] = parts.as_slice()
            && FILE_FORMATS.contains(&format.to_lowercase().as_str())
        {
            return self.files(FileScan {
                format: format.to_lowercase(),
                paths: vec![path.clone()],
                options: BTreeMap::new(),
                schema: None,
            });
        }
        if let Some(scan) = self.warehouse_table(&parts) {
            let qualifier = vec![
                "spark_catalog".to_owned(),
                self.catalog.current_database().to_owned(),
                parts[parts.len() - 1].to_lowercase(),
            ];
            let mut plan = self.files(scan)?;
            for field in &mut plan.fields {
                field.qualifier.clone_from(&qualifier);
            }
            return Ok(plan);
        }
        Err(errors::table_not_found(&parts))
    }

    /// A DataFrame that came as an argument of the SQL text, under its name in the text.
    fn referenced(&self, name: &str) -> Option<connect::Relation> {
        let references = self.references.borrow();
        let named = references.iter().rev().find(|(_, relation)| {
            matches!(&relation.rel_type, Some(RelType::SubqueryAlias(a)) if a.alias == name)
        });
        named.map(|(_, relation)| relation.clone())
    }

    /// The files of a table that `saveAsTable` wrote.
    fn warehouse_table(&self, parts: &[String]) -> Option<FileScan> {
        let key = self.catalog.table_key(parts);
        self.catalog
            .tables
            .get(&key)
            .map(|table| table.scan.clone())
    }

    fn files(&self, scan: FileScan) -> Result<ResolvedPlan> {
        match self.leaf(Leaf::Files(scan.clone()))? {
            LoadedLeaf::Files(files) => files.plan(&scan),
            _ => Err(SparkError::other("files are not loaded as files")),
        }
    }

    pub(super) fn sql(&self, sql: &connect::Sql, outer: Option<&Scope>) -> Result<ResolvedPlan> {
        match pyrite_sql::parse_with_arguments(&sql.query, &arguments(sql))? {
            pyrite_sql::Statement::Query(relation) => self.relation(&relation, outer),
            pyrite_sql::Statement::Command(_) => {
                Err(SparkError::not_supported("a SQL command inside a query"))
            }
        }
    }

    pub(super) fn catalog_relation(&self, catalog: &connect::Catalog) -> Result<ResolvedPlan> {
        crate::catalog_relation::answer(self, catalog)
    }
}

/// The arguments of a SQL text.
pub(crate) fn arguments(sql: &connect::Sql) -> pyrite_sql::Arguments {
    use connect::Expression;
    use connect::expression::{ExprType, Literal};
    let of_literal = |literal: &Literal| Expression {
        common: None,
        expr_type: Some(ExprType::Literal(literal.clone())),
    };
    #[expect(deprecated, reason = "older clients send literals")]
    let (old_named, old_positional) = (&sql.args, &sql.pos_args);
    let mut named: BTreeMap<String, Expression> = old_named
        .iter()
        .map(|(k, v)| (k.clone(), of_literal(v)))
        .collect();
    named.extend(
        sql.named_arguments
            .iter()
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    let mut positional: Vec<Expression> = old_positional.iter().map(of_literal).collect();
    positional.extend(sql.pos_arguments.iter().cloned());
    pyrite_sql::Arguments { named, positional }
}
