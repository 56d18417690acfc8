//! Messages as one line of text, for comparison in tests.

use std::collections::HashMap;

use spark_connect_proto as connect;
use spark_connect_proto::expression::literal::LiteralType;
use spark_connect_proto::expression::window::window_frame::frame_boundary::Boundary;
use spark_connect_proto::expression::{ExprType, Literal, SortOrder, Window};
use spark_connect_proto::read::ReadType;
use spark_connect_proto::relation::RelType;
use spark_connect_proto::subquery_expression::SubqueryType;
use spark_connect_proto::{Expression, Relation};

pub fn render_expression(expression: &Expression) -> String {
    Renderer::default().expression(expression)
}

/// Renders messages; plan ids become `#0`, `#1`, ... in order of appearance.
#[derive(Default)]
pub struct Renderer {
    ids: HashMap<i64, usize>,
}

impl Renderer {
    fn id(&mut self, id: i64) -> String {
        let next = self.ids.len();
        format!("#{}", self.ids.entry(id).or_insert(next))
    }

    fn list(&mut self, expressions: &[Expression]) -> String {
        let all: Vec<String> = expressions.iter().map(|e| self.expression(e)).collect();
        all.join(", ")
    }

    pub fn expression(&mut self, e: &Expression) -> String {
        match e.expr_type.as_ref().expect("every expression has a type") {
            ExprType::Literal(l) => literal(l),
            ExprType::UnresolvedAttribute(a) => a.unparsed_identifier.clone(),
            ExprType::UnresolvedFunction(f) => {
                let internal = if f.is_internal == Some(true) { "!" } else { "" };
                let distinct = if f.is_distinct { "DISTINCT " } else { "" };
                format!(
                    "{internal}{}({distinct}{})",
                    f.function_name,
                    self.list(&f.arguments)
                )
            }
            ExprType::UnresolvedStar(s) => {
                s.unparsed_target.clone().unwrap_or_else(|| "*".to_owned())
            }
            ExprType::Alias(a) => {
                let value = self.expression(a.expr.as_ref().expect("an alias names something"));
                format!("{value} AS {}", a.name.join("+"))
            }
            ExprType::Cast(c) => {
                let value = self.expression(c.expr.as_ref().expect("a cast has a value"));
                let Some(connect::expression::cast::CastToType::Type(to)) = &c.cast_to_type else {
                    panic!("no type")
                };
                let name = if c.eval_mode == 3 { "try_cast" } else { "cast" };
                format!(
                    "{name}({value} AS {})",
                    crate::type_text(to).expect("a type has a text")
                )
            }
            ExprType::LambdaFunction(l) => {
                let names: Vec<&str> = l
                    .arguments
                    .iter()
                    .map(|a| a.name_parts[0].as_str())
                    .collect();
                format!(
                    "({}) -> {}",
                    names.join(", "),
                    self.expression(l.function.as_ref().expect("a body"))
                )
            }
            ExprType::UnresolvedNamedLambdaVariable(v) => format!("${}", v.name_parts.join(".")),
            ExprType::UnresolvedExtractValue(x) => {
                let child = self.expression(x.child.as_ref().expect("a child"));
                format!(
                    "{child}[{}]",
                    self.expression(x.extraction.as_ref().expect("a key"))
                )
            }
            ExprType::NamedArgumentExpression(n) => {
                format!(
                    "{} => {}",
                    n.key,
                    self.expression(n.value.as_ref().expect("a value"))
                )
            }
            ExprType::SortOrder(o) => self.sort_order(o),
            ExprType::Window(w) => self.window(w),
            ExprType::SubqueryExpression(s) => {
                let kind = SubqueryType::try_from(s.subquery_type).expect("a known kind");
                let mut text = format!(
                    "{kind:?}{}({})",
                    self.id(s.plan_id),
                    self.list(&s.in_subquery_values)
                );
                if let Some(options) = &s.table_arg_options {
                    text += &format!(" PARTITION {}", self.list(&options.partition_spec));
                    text += &format!(
                        " SINGLE {:?}",
                        options.with_single_partition.unwrap_or(false)
                    );
                }
                text
            }
            other => format!("{other:?}"),
        }
    }

    fn sort_order(&mut self, order: &SortOrder) -> String {
        let child = self.expression(order.child.as_ref().expect("a key"));
        let direction = if order.direction == 2 { "-" } else { "+" };
        let nulls = if order.null_ordering == 2 {
            " nulls last"
        } else {
            ""
        };
        format!("{direction}{child}{nulls}")
    }

    fn orders(&mut self, orders: &[SortOrder]) -> String {
        let all: Vec<String> = orders.iter().map(|o| self.sort_order(o)).collect();
        all.join(", ")
    }

    fn window(&mut self, w: &Window) -> String {
        let function = self.expression(w.window_function.as_ref().expect("a function"));
        let mut text = format!(
            "{function} OVER ({}; {}",
            self.list(&w.partition_spec),
            self.orders(&w.order_spec)
        );
        if let Some(frame) = &w.frame_spec {
            let mut bound =
                |b: &Option<Box<connect::expression::window::window_frame::FrameBoundary>>| match b
                    .as_ref()
                    .and_then(|b| b.boundary.as_ref())
                    .expect("a boundary")
                {
                    Boundary::CurrentRow(_) => "current".to_owned(),
                    Boundary::Unbounded(_) => "unbounded".to_owned(),
                    Boundary::Value(v) => self.expression(v),
                };
            let (lower, upper) = (bound(&frame.lower), bound(&frame.upper));
            text += &format!(
                "; {} {lower}..{upper}",
                if frame.frame_type == 1 {
                    "rows"
                } else {
                    "range"
                }
            );
        }
        text + ")"
    }

    fn input(&mut self, input: &Option<Box<Relation>>) -> String {
        input
            .as_ref()
            .map_or_else(|| "-".to_owned(), |r| self.relation(r))
    }

    pub fn relation(&mut self, r: &Relation) -> String {
        let prefix = match r.common.as_ref().and_then(|c| c.plan_id) {
            Some(id) => format!("{}:", self.id(id)),
            None => String::new(),
        };
        prefix + &self.relation_type(r.rel_type.as_ref().expect("every relation has a type"))
    }

    fn relation_type(&mut self, r: &RelType) -> String {
        match r {
            RelType::Read(read) => match read.read_type.as_ref().expect("a read has a type") {
                ReadType::NamedTable(t) => t.unparsed_identifier.clone(),
                ReadType::DataSource(s) => format!("{s:?}"),
            },
            RelType::Project(p) => format!(
                "project({} | {})",
                self.list(&p.expressions),
                self.input(&p.input)
            ),
            RelType::Filter(f) => {
                let condition = self.expression(f.condition.as_ref().expect("a condition"));
                format!("filter({condition} | {})", self.input(&f.input))
            }
            RelType::Join(j) => {
                let kind = connect::join::JoinType::try_from(j.join_type).expect("a known type");
                let condition = j
                    .join_condition
                    .as_ref()
                    .map(|c| format!(" ON {}", self.expression(c)));
                let using = if j.using_columns.is_empty() {
                    String::new()
                } else {
                    format!(" USING {}", j.using_columns.join(", "))
                };
                format!(
                    "{kind:?}Join({}, {}{}{using})",
                    self.input(&j.left),
                    self.input(&j.right),
                    condition.unwrap_or_default()
                )
            }
            RelType::LateralJoin(j) => {
                let kind = connect::join::JoinType::try_from(j.join_type).expect("a known type");
                let condition = j
                    .join_condition
                    .as_ref()
                    .map(|c| format!(" ON {}", self.expression(c)));
                format!(
                    "{kind:?}Lateral({}, {}{})",
                    self.input(&j.left),
                    self.input(&j.right),
                    condition.unwrap_or_default()
                )
            }
            RelType::SetOp(s) => {
                let kind = connect::set_operation::SetOpType::try_from(s.set_op_type)
                    .expect("a known type");
                let all = if s.is_all == Some(true) { " all" } else { "" };
                let name = if s.by_name == Some(true) {
                    " by name"
                } else {
                    ""
                };
                format!(
                    "{kind:?}{all}{name}({}, {})",
                    self.input(&s.left_input),
                    self.input(&s.right_input)
                )
            }
            RelType::Sort(s) => {
                let kind = if s.is_global == Some(true) {
                    "sort"
                } else {
                    "local_sort"
                };
                format!(
                    "{kind}({} | {})",
                    self.orders(&s.order),
                    self.input(&s.input)
                )
            }
            RelType::Limit(l) => format!("limit({} | {})", l.limit, self.input(&l.input)),
            RelType::Offset(o) => format!("offset({} | {})", o.offset, self.input(&o.input)),
            RelType::Aggregate(a) => self.aggregate(a),
            RelType::SubqueryAlias(s) => format!("{}:=({})", s.alias, self.input(&s.input)),
            RelType::ToDf(t) => format!(
                "to_df({} | {})",
                t.column_names.join(", "),
                self.input(&t.input)
            ),
            RelType::Range(r) => format!(
                "range({:?}, {}, {}, {:?})",
                r.start.unwrap_or(0),
                r.end,
                r.step,
                r.num_partitions
            ),
            RelType::Drop(d) => format!(
                "drop({}{} | {})",
                self.list(&d.columns),
                d.column_names.join(", "),
                self.input(&d.input)
            ),
            RelType::WithColumns(w) => {
                let columns: Vec<String> = w
                    .aliases
                    .iter()
                    .map(|a| {
                        format!(
                            "{} = {}",
                            a.name[0],
                            self.expression(a.expr.as_ref().expect("a value"))
                        )
                    })
                    .collect();
                format!(
                    "with_columns({} | {})",
                    columns.join(", "),
                    self.input(&w.input)
                )
            }
            RelType::Deduplicate(d) => format!("distinct({})", self.input(&d.input)),
            RelType::RepartitionByExpression(r) => {
                format!(
                    "distribute({} | {})",
                    self.list(&r.partition_exprs),
                    self.input(&r.input)
                )
            }
            RelType::Sample(s) => format!(
                "sample({}, {:?} | {})",
                s.upper_bound,
                s.seed,
                self.input(&s.input)
            ),
            RelType::Hint(h) => format!(
                "hint({}({}) | {})",
                h.name,
                self.list(&h.parameters),
                self.input(&h.input)
            ),
            RelType::Unpivot(u) => {
                let values = self.list(&u.values.as_ref().expect("values").values);
                format!(
                    "unpivot({}; {values}; {}, {} | {})",
                    self.list(&u.ids),
                    u.variable_column_name,
                    u.value_column_name,
                    self.input(&u.input)
                )
            }
            RelType::UnresolvedTableValuedFunction(f) => {
                format!("{}<{}>", f.function_name, self.list(&f.arguments))
            }
            RelType::WithRelations(w) => {
                let root = self.input(&w.root);
                let all: Vec<String> = w.references.iter().map(|r| self.relation(r)).collect();
                format!("with({root}; {})", all.join(", "))
            }
            other => format!("{other:?}"),
        }
    }

    fn aggregate(&mut self, a: &connect::Aggregate) -> String {
        let keys = self.list(&a.grouping_expressions);
        let sets: Vec<String> = a
            .grouping_sets
            .iter()
            .map(|s| format!("({})", self.list(&s.grouping_set)))
            .collect();
        let list = self.list(&a.aggregate_expressions);
        let input = self.input(&a.input);
        let kind = connect::aggregate::GroupType::try_from(a.group_type).expect("a known type");
        let pivot = a.pivot.as_ref().map(|p| {
            let values: Vec<String> = p.values.iter().map(literal).collect();
            format!(
                " FOR {} IN {}",
                self.expression(p.col.as_ref().expect("a column")),
                values.join(", ")
            )
        });
        let kind = if a.group_type == 0 {
            "aggregate".to_owned()
        } else {
            format!("{kind:?}")
        };
        let sets = if sets.is_empty() {
            String::new()
        } else {
            format!(" SETS {}", sets.join(" "))
        };
        format!(
            "{kind}({keys}{sets}; {list}{} | {input})",
            pivot.unwrap_or_default()
        )
    }
}

fn literal(l: &Literal) -> String {
    let typed = |value: String| match &l.data_type {
        Some(data_type) => format!(
            "{value}:{}",
            crate::type_text(data_type).expect("a type has a text")
        ),
        None => value,
    };
    match l.literal_type.as_ref().expect("every literal has a value") {
        LiteralType::Null(_) => "null".to_owned(),
        LiteralType::Binary(b) => format!("X{b:?}"),
        LiteralType::Boolean(b) => b.to_string(),
        LiteralType::Byte(n) => format!("{n}Y"),
        LiteralType::Short(n) => format!("{n}S"),
        LiteralType::Integer(n) => n.to_string(),
        LiteralType::Long(n) => format!("{n}L"),
        LiteralType::Float(n) => format!("{n:?}F"),
        LiteralType::Double(n) => format!("{n:?}D"),
        LiteralType::Decimal(d) => format!(
            "{}({},{})",
            d.value,
            d.precision.unwrap_or(-1),
            d.scale.unwrap_or(-1)
        ),
        LiteralType::String(s) => format!("{s:?}"),
        LiteralType::Date(n) => format!("date {n}"),
        LiteralType::Timestamp(n) => format!("timestamp {n}"),
        LiteralType::TimestampNtz(n) => format!("timestamp_ntz {n}"),
        LiteralType::YearMonthInterval(n) => typed(format!("{n} months")),
        LiteralType::DayTimeInterval(n) => typed(format!("{n} micros")),
        LiteralType::Struct(s) => {
            let all: Vec<String> = s.elements.iter().map(literal).collect();
            typed(format!("{{{}}}", all.join(", ")))
        }
        other => format!("{other:?}"),
    }
}
