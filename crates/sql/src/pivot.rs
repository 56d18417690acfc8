//! `PIVOT` and `UNPIVOT`.

use pyrite_proto::error::SparkError;
use spark_connect_proto as connect;
use spark_connect_proto::aggregate::{GroupType, Pivot};
use spark_connect_proto::data_type::{self, Kind};
use spark_connect_proto::expression::{self, ExprType, Literal};
use spark_connect_proto::relation::RelType;
use spark_connect_proto::{DataType, Expression, Relation};

use crate::data_type::{of_kind, struct_of};
use crate::error::Result;
use crate::message::{LiteralType, alias, attribute, call, filter, relation, star, subquery_alias};
use crate::parser::Parser;

impl Parser<'_> {
    /// `PIVOT (aggregates FOR column IN (values))` on `input`.
    pub(crate) fn pivot(&mut self, input: Relation) -> Result<Relation> {
        self.expect_word("pivot")?;
        self.expect_symbol("(")?;
        let aggregate_expressions = self.comma_separated(Self::named_expression)?;
        self.expect_word("for")?;
        let column = if self.is_symbol("(") {
            let mut columns = self.parenthesized(Self::multipart_identifier)?;
            match columns.len() {
                1 => attribute(&columns.remove(0)),
                _ => call(
                    "struct",
                    columns.iter().map(|parts| attribute(parts)).collect(),
                ),
            }
        } else {
            attribute(&self.multipart_identifier()?)
        };
        self.expect_word("in")?;
        let values = self.parenthesized(Self::pivot_value)?;
        self.expect_symbol(")")?;
        let pivoted = relation(RelType::Aggregate(Box::new(connect::Aggregate {
            input: Some(Box::new(input)),
            group_type: GroupType::Pivot as i32,
            grouping_expressions: vec![star(None)],
            aggregate_expressions,
            pivot: Some(Pivot {
                col: Some(column),
                values,
            }),
            grouping_sets: Vec::new(),
        })));
        self.pivot_alias(pivoted)
    }

    fn pivot_alias(&mut self, input: Relation) -> Result<Relation> {
        let name = if self.eat_word("as") {
            Some(self.identifier()?)
        } else {
            self.implicit_alias()
        };
        Ok(match name {
            Some(name) => subquery_alias(input, name),
            None => input,
        })
    }

    /// A value of `PIVOT`, whose alias makes it a struct of one field of that name.
    fn pivot_value(&mut self) -> Result<Literal> {
        let value = self.named_expression()?;
        if let Some(ExprType::Alias(alias)) = value.expr_type {
            let inner = alias.expr.map(|e| *e).unwrap_or_default();
            let name = alias.name.into_iter().next().unwrap_or_default();
            return struct_literal(vec![(name, constant(inner)?)]);
        }
        constant(value)
    }

    /// `UNPIVOT [INCLUDE|EXCLUDE NULLS] (value FOR name IN (a [AS x], b))` on `input`.
    pub(crate) fn unpivot(&mut self, input: Relation) -> Result<Relation> {
        self.expect_word("unpivot")?;
        let include_nulls = self.eat_words(&["include", "nulls"]);
        if !include_nulls {
            self.eat_words(&["exclude", "nulls"]);
        }
        self.expect_symbol("(")?;
        if self.is_symbol("(") {
            return Err(SparkError::not_supported(
                "UNPIVOT into several value columns",
            ));
        }
        let value_column_name = self.identifier()?;
        self.expect_word("for")?;
        let variable_column_name = self.identifier()?;
        self.expect_word("in")?;
        let values = self.parenthesized(|p| {
            let column = attribute(&p.multipart_identifier()?);
            let name = if p.eat_word("as") {
                Some(p.identifier()?)
            } else {
                p.implicit_alias()
            };
            Ok(match name {
                Some(name) => alias(column, vec![name]),
                None => column,
            })
        })?;
        self.expect_symbol(")")?;
        let mut unpivoted = relation(RelType::Unpivot(Box::new(connect::Unpivot {
            input: Some(Box::new(input)),
            ids: vec![star(None)],
            values: Some(connect::unpivot::Values { values }),
            variable_column_name,
            value_column_name: value_column_name.clone(),
        })));
        if !include_nulls {
            unpivoted = filter(
                unpivoted,
                call("isnotnull", vec![attribute(&[value_column_name])]),
            );
        }
        self.pivot_alias(unpivoted)
    }
}

/// The literal that a constant expression is.
fn constant(value: Expression) -> Result<Literal> {
    match value.expr_type {
        Some(ExprType::Literal(literal)) => Ok(literal),
        Some(ExprType::UnresolvedFunction(f)) if f.function_name == "struct" => {
            let fields = f.arguments.into_iter().enumerate();
            struct_literal(
                fields
                    .map(|(i, e)| Ok((format!("col{}", i + 1), constant(e)?)))
                    .collect::<Result<_>>()?,
            )
        }
        _ => Err(SparkError::not_supported(
            "a pivot value that is not a literal",
        )),
    }
}

fn struct_literal(fields: Vec<(String, Literal)>) -> Result<Literal> {
    let types = fields
        .iter()
        .map(|(name, literal)| {
            Ok(data_type::StructField {
                name: name.clone(),
                data_type: Some(literal_type(literal)?),
                nullable: true,
                metadata: None,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Literal {
        literal_type: Some(LiteralType::Struct(expression::literal::Struct {
            elements: fields.into_iter().map(|(_, literal)| literal).collect(),
            ..Default::default()
        })),
        data_type: Some(struct_of(types)),
    })
}

/// The type of a literal as this crate makes them.
fn literal_type(literal: &Literal) -> Result<DataType> {
    if let Some(data_type) = &literal.data_type {
        return Ok(data_type.clone());
    }
    Ok(of_kind(match literal.literal_type.as_ref() {
        Some(LiteralType::Null(data_type)) => return Ok(data_type.clone()),
        Some(LiteralType::Binary(_)) => Kind::Binary(Default::default()),
        Some(LiteralType::Boolean(_)) => Kind::Boolean(Default::default()),
        Some(LiteralType::Byte(_)) => Kind::Byte(Default::default()),
        Some(LiteralType::Short(_)) => Kind::Short(Default::default()),
        Some(LiteralType::Integer(_)) => Kind::Integer(Default::default()),
        Some(LiteralType::Long(_)) => Kind::Long(Default::default()),
        Some(LiteralType::Float(_)) => Kind::Float(Default::default()),
        Some(LiteralType::Double(_)) => Kind::Double(Default::default()),
        Some(LiteralType::String(_)) => Kind::String(Default::default()),
        Some(LiteralType::Date(_)) => Kind::Date(Default::default()),
        Some(LiteralType::Timestamp(_)) => Kind::Timestamp(Default::default()),
        Some(LiteralType::TimestampNtz(_)) => Kind::TimestampNtz(Default::default()),
        Some(LiteralType::Decimal(d)) => Kind::Decimal(data_type::Decimal {
            scale: d.scale,
            precision: d.precision,
            type_variation_reference: 0,
        }),
        _ => {
            return Err(SparkError::not_supported(
                "this kind of literal as a pivot value",
            ));
        }
    }))
}
