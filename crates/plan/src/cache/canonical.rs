//! Analysed plans without what differs between equal ones: their internal names.
//!
//! Every analysis of a query gives its columns new names (`name#7`). Here they are numbered in
//! the order in which they come up, so that two analyses of one query, or of two that mean the
//! same to the letter, are equal.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Partitioning, SortExpr};
use regex::Regex;

use crate::analyzer::with_stack;
use crate::nodes::{LocalSort, PythonAggregate, PythonCall, PythonEval, PythonTable};

/// An analysed plan under names of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canonical {
    /// What the node is, beside its expressions.
    node: String,
    exprs: Vec<Expr>,
    /// The node's inputs, then the subqueries in its expressions.
    inputs: Vec<Canonical>,
}

/// Claims that a plan, or a subquery in it, has a part with this canonical form and shape.
pub(super) fn has_part(plan: &LogicalPlan, part: &Canonical, part_shape: u64) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        found = shape(node) == part_shape && canonical(node).as_ref() == Some(part);
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    walked.is_ok() && found
}

/// The kinds of a plan's nodes, which equal plans share; cheaper than comparing them.
pub(super) fn shape(plan: &LogicalPlan) -> u64 {
    with_stack(|| {
        let mut hasher = std::hash::DefaultHasher::new();
        if let Some(input) = renamed_input(plan) {
            return shape(input);
        }
        std::mem::discriminant(plan).hash(&mut hasher);
        for input in plan.inputs() {
            shape(input).hash(&mut hasher);
        }
        hasher.finish()
    })
}

/// Brings a plan to its canonical form; `None` when it holds a node that cannot be compared.
pub(super) fn canonical(plan: &LogicalPlan) -> Option<Canonical> {
    Names::default().plan(plan)
}

/// The input of a projection that does nothing but name its columns anew.
fn renamed_input(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    let LogicalPlan::Projection(projection) = plan else {
        return None;
    };
    let input = projection.input.schema();
    let renames = input.fields().len() == projection.expr.len()
        && projection.expr.iter().enumerate().all(|(index, expr)| {
            column_of(expr).is_some_and(|c| input.maybe_index_of_column(c) == Some(index))
        });
    renames.then_some(projection.input.as_ref())
}

fn column_of(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => column_of(&alias.expr),
        _ => None,
    }
}

/// Internal names seen so far.
#[derive(Default)]
struct Names {
    /// Canonical names of whole columns that are others under a new name.
    same: HashMap<String, String>,
    numbers: HashMap<String, usize>,
}

static INTERNAL: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::unwrap_used, reason = "the pattern is a constant")]
    Regex::new("[a-z0-9_]*#([0-9]+)").unwrap()
});

impl Names {
    fn plan(&mut self, plan: &LogicalPlan) -> Option<Canonical> {
        with_stack(|| self.node(plan))
    }

    fn node(&mut self, plan: &LogicalPlan) -> Option<Canonical> {
        if let Some(input) = renamed_input(plan) {
            let canonical = self.plan(input)?;
            for (new, old) in plan.schema().columns().iter().zip(input.schema().columns()) {
                let old = self.name(&old.name);
                self.same.insert(new.name.clone(), old);
            }
            return Some(canonical);
        }
        let mut inputs = plan
            .inputs()
            .into_iter()
            .map(|input| self.plan(input))
            .collect::<Option<Vec<_>>>()?;
        let node = self.describe(plan)?;
        let mut exprs = vec![];
        plan.apply_expressions(|expr| {
            exprs.push(expr.clone());
            Ok(TreeNodeRecursion::Continue)
        })
        .ok()?;
        let exprs = exprs
            .into_iter()
            .map(|expr| self.expr(expr, &mut inputs))
            .collect::<Option<Vec<_>>>()?;
        Some(Canonical {
            node,
            exprs,
            inputs,
        })
    }

    /// What a node is, beside its inputs and its expressions in order.
    fn describe(&mut self, plan: &LogicalPlan) -> Option<String> {
        Some(match plan {
            LogicalPlan::Projection(_) => "Projection".into(),
            LogicalPlan::Filter(_) => "Filter".into(),
            LogicalPlan::Window(_) => "Window".into(),
            LogicalPlan::Union(_) => "Union".into(),
            LogicalPlan::Subquery(_) => "Subquery".into(),
            LogicalPlan::Aggregate(a) => format!("Aggregate {}", a.group_expr.len()),
            LogicalPlan::Sort(s) => format!("Sort {} {:?}", directions(&s.expr), s.fetch),
            LogicalPlan::Join(j) => format!(
                "Join {:?} {:?} {:?} {} {}",
                j.join_type,
                j.join_constraint,
                j.null_equality,
                j.on.len(),
                j.filter.is_some()
            ),
            LogicalPlan::Repartition(r) => match &r.partitioning_scheme {
                Partitioning::RoundRobinBatch(n) => format!("RoundRobin {n}"),
                Partitioning::Hash(_, n) => format!("Hash {n}"),
                Partitioning::DistributeBy(_) => "DistributeBy".into(),
                Partitioning::Range(_) => return None,
            },
            // Without word of what the table holds it equals no other.
            LogicalPlan::TableScan(t) => format!(
                "TableScan {} {} {:?} {:?}",
                t.table_name.schema()?,
                self.table(&t.table_name),
                t.projection,
                t.fetch
            ),
            LogicalPlan::EmptyRelation(e) => {
                format!("Empty {} {}", e.produce_one_row, e.schema.fields().len())
            }
            LogicalPlan::SubqueryAlias(s) => format!("Alias {}", self.table(&s.alias)),
            LogicalPlan::Limit(l) => format!("Limit {} {}", l.skip.is_some(), l.fetch.is_some()),
            LogicalPlan::Values(v) => format!("Values {}", v.schema.fields().len()),
            LogicalPlan::Distinct(Distinct::All(_)) => "Distinct".into(),
            LogicalPlan::Distinct(Distinct::On(on)) => format!(
                "DistinctOn {} {} {:?}",
                on.on_expr.len(),
                on.select_expr.len(),
                on.sort_expr.as_deref().map(directions)
            ),
            LogicalPlan::Unnest(u) => format!(
                "Unnest {:?} {:?} {:?}",
                u.dependency_indices,
                u.struct_type_columns,
                u.options.preserve_nulls()
            ),
            LogicalPlan::Extension(extension) => self.describe_extension(extension)?,
            _ => return None,
        })
    }

    fn describe_extension(
        &mut self,
        extension: &datafusion::logical_expr::Extension,
    ) -> Option<String> {
        let node = extension.node.as_any();
        if let Some(eval) = node.downcast_ref::<PythonEval>() {
            return Some(format!("PythonEval {}", self.calls(&eval.calls)));
        }
        if let Some(aggregate) = node.downcast_ref::<PythonAggregate>() {
            let (keys, calls) = (aggregate.keys.len(), self.calls(&aggregate.calls));
            return Some(format!("PythonAggregate {keys} {calls}"));
        }
        if let Some(table) = node.downcast_ref::<PythonTable>() {
            let names: Vec<&String> = table.columns.iter().map(|(_, name)| name).collect();
            return Some(format!(
                "PythonTable {:?} {names:?} {:?} {:?}",
                table.udf,
                table.keys.as_ref().map(Vec::len),
                table.result
            ));
        }
        let sort = node.downcast_ref::<LocalSort>()?;
        Some(format!("LocalSort {}", directions(&sort.keys)))
    }

    fn calls(&mut self, calls: &[PythonCall]) -> String {
        let calls: Vec<String> = calls
            .iter()
            .map(|call| {
                let output = self.name(&call.output);
                let (names, count) = (&call.arg_names, call.args.len());
                format!("{:?} {names:?} {count} {output}", call.udf)
            })
            .collect();
        calls.join(", ")
    }

    /// An expression under canonical names. Subqueries in it go to `plans`.
    fn expr(&mut self, expr: Expr, plans: &mut Vec<Canonical>) -> Option<Expr> {
        let mut comparable = true;
        let renamed = expr.transform_down(|expr| {
            Ok(Transformed::yes(match expr {
                Expr::Column(c) => Expr::Column(self.column(&c)),
                Expr::OuterReferenceColumn(field, c) => {
                    let field = field.as_ref().clone().with_name("outer");
                    Expr::OuterReferenceColumn(field.into(), self.column(&c))
                }
                Expr::Alias(mut alias) => {
                    alias.name = self.name(&alias.name);
                    alias.relation = alias.relation.map(|r| self.reference(&r));
                    Expr::Alias(alias)
                }
                Expr::Lambda(mut lambda) => {
                    lambda.params = lambda.params.iter().map(|p| self.name(p)).collect();
                    Expr::Lambda(lambda)
                }
                Expr::LambdaVariable(mut variable) => {
                    variable.name = self.name(&variable.name);
                    let name = variable.name.clone();
                    variable.field = variable
                        .field
                        .map(|f| f.as_ref().clone().with_name(name).into());
                    Expr::LambdaVariable(variable)
                }
                Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_) => match self.subquery(expr, plans) {
                    Some(expr) => return Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump)),
                    None => {
                        comparable = false;
                        Expr::Column(Column::new_unqualified("?"))
                    }
                },
                other => other,
            }))
        });
        let renamed: Result<Expr> = renamed.data();
        renamed.ok().filter(|_| comparable)
    }

    /// A subquery expression as one without a plan in it; the plan goes to `plans`.
    fn subquery(&mut self, expr: Expr, plans: &mut Vec<Canonical>) -> Option<Expr> {
        let (what, value, subquery) = match expr {
            Expr::ScalarSubquery(subquery) => ("scalar".to_owned(), None, subquery),
            Expr::Exists(exists) => (format!("exists {}", exists.negated), None, exists.subquery),
            Expr::InSubquery(inside) => (
                format!("in {}", inside.negated),
                Some(*inside.expr),
                inside.subquery,
            ),
            Expr::SetComparison(set) => (
                format!("{:?} {:?}", set.op, set.quantifier),
                Some(*set.expr),
                set.subquery,
            ),
            _ => return None,
        };
        let plan = self.plan(&subquery.subquery)?;
        plans.push(plan);
        let mark = Expr::Column(Column::new_unqualified(format!("{what} {}", plans.len())));
        Some(match value {
            None => mark,
            Some(value) => self.expr(value, plans)?.eq(mark),
        })
    }

    fn column(&mut self, column: &Column) -> Column {
        Column::new(
            column.relation.as_ref().map(|r| self.reference(r)),
            self.name(&column.name),
        )
    }

    fn reference(&mut self, reference: &TableReference) -> TableReference {
        TableReference::bare(self.table(reference))
    }

    /// A table's name: the first part says what the table holds and stays.
    fn table(&mut self, reference: &TableReference) -> String {
        let name = self.name(reference.table());
        match reference.schema() {
            Some(content) => format!("{content}.{name}"),
            None => name,
        }
    }

    /// A name with the internal names in it replaced.
    fn name(&mut self, name: &str) -> String {
        if let Some(same) = self.same.get(name) {
            return same.clone();
        }
        let numbers = &mut self.numbers;
        INTERNAL
            .replace_all(name, |found: &regex::Captures| {
                let next = numbers.len();
                let number = numbers.entry(found[1].to_owned()).or_insert(next);
                format!("#{number}")
            })
            .into_owned()
    }
}

fn directions(keys: &[SortExpr]) -> String {
    let flags = |key: &SortExpr| format!("{}{}", u8::from(key.asc), u8::from(key.nulls_first));
    keys.iter().map(flags).collect::<Vec<_>>().join(",")
}
