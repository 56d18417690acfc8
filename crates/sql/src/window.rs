//! Window specifications, named windows and sort orders.

use spark_connect_proto::Expression;
use spark_connect_proto::expression::sort_order::{NullOrdering, SortDirection};
use spark_connect_proto::expression::window::WindowFrame;
use spark_connect_proto::expression::window::window_frame::frame_boundary::Boundary;
use spark_connect_proto::expression::window::window_frame::{FrameBoundary, FrameType};
use spark_connect_proto::expression::{self, ExprType, SortOrder};

use crate::error::{Result, parse_error};
use crate::lexer::TokenKind;
use crate::message::{LiteralType, call, expression};
use crate::parser::{NamedWindows, Parser};

/// What stands in the parentheses of `OVER (...)`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WindowSpec {
    partition: Vec<Expression>,
    order: Vec<SortOrder>,
    frame: Option<WindowFrame>,
}

impl Parser<'_> {
    /// The window of `function`; `OVER` has been read.
    pub(crate) fn over(&mut self, function: Expression) -> Result<Expression> {
        let spec = if self.is_symbol("(") {
            self.window_spec()?
        } else {
            let name = self.identifier()?;
            self.named_window(&name)?
        };
        Ok(expression(ExprType::Window(Box::new(expression::Window {
            window_function: Some(Box::new(function)),
            partition_spec: spec.partition,
            order_spec: spec.order,
            frame_spec: spec.frame.map(Box::new),
        }))))
    }

    fn named_window(&self, name: &str) -> Result<WindowSpec> {
        let found = self
            .windows
            .last()
            .and_then(|windows| windows.get(&name.to_lowercase()));
        found.cloned().ok_or_else(|| {
            parse_error(
                "MISSING_WINDOW_SPECIFICATION",
                "42P20",
                format!("Window specification is not defined in the WINDOW clause for {name}."),
            )
            .with("windowName", name)
        })
    }

    /// `( [name] [PARTITION BY ...] [ORDER BY ...] [frame] )`
    fn window_spec(&mut self) -> Result<WindowSpec> {
        self.expect_symbol("(")?;
        let mut spec = WindowSpec::default();
        let starts_clause = [
            "partition",
            "distribute",
            "cluster",
            "order",
            "sort",
            "rows",
            "range",
        ];
        if !self.is_symbol(")") && !self.is_any_word(&starts_clause) {
            let name = self.identifier()?;
            spec = self.named_window(&name)?;
        }
        if self.eat_words(&["cluster", "by"]) {
            spec.partition = self.comma_separated(Self::expression)?;
            spec.order = spec.partition.iter().cloned().map(ascending).collect();
        } else {
            if self.eat_words(&["partition", "by"]) || self.eat_words(&["distribute", "by"]) {
                spec.partition = self.comma_separated(Self::expression)?;
            }
            if self.eat_words(&["order", "by"]) || self.eat_words(&["sort", "by"]) {
                spec.order = self.sort_orders()?;
            }
        }
        if self.is_word("rows") || self.is_word("range") {
            spec.frame = Some(self.window_frame()?);
        }
        self.expect_symbol(")")?;
        Ok(spec)
    }

    fn window_frame(&mut self) -> Result<WindowFrame> {
        let frame_type = if self.eat_word("rows") {
            FrameType::Row
        } else {
            self.expect_word("range")?;
            FrameType::Range
        };
        let (lower, upper) = if self.eat_word("between") {
            let lower = self.frame_boundary()?;
            self.expect_word("and")?;
            (lower, self.frame_boundary()?)
        } else {
            (self.frame_boundary()?, Boundary::CurrentRow(true))
        };
        let boundary = |b| Some(Box::new(FrameBoundary { boundary: Some(b) }));
        Ok(WindowFrame {
            frame_type: frame_type as i32,
            lower: boundary(lower),
            upper: boundary(upper),
        })
    }

    fn frame_boundary(&mut self) -> Result<Boundary> {
        if self.eat_words(&["current", "row"]) {
            return Ok(Boundary::CurrentRow(true));
        }
        if self.eat_words(&["unbounded", "preceding"])
            || self.eat_words(&["unbounded", "following"])
        {
            return Ok(Boundary::Unbounded(true));
        }
        let value = self.value(0)?;
        if self.eat_word("preceding") {
            return Ok(Boundary::Value(Box::new(negated(value))));
        }
        self.expect_word("following")?;
        Ok(Boundary::Value(Box::new(value)))
    }

    /// Finds and parses the `WINDOW` clause of the `SELECT` that begins here, so that `OVER name` in its list
    /// is known when it is read. Consumes nothing.
    pub(crate) fn look_for_named_windows(&mut self) -> Result<NamedWindows> {
        let start = self.index;
        let Some(ahead) = self.distance_to_window_clause() else {
            return Ok(NamedWindows::new());
        };
        self.index += ahead;
        let windows = self.window_clause();
        self.index = start;
        windows
    }

    fn distance_to_window_clause(&self) -> Option<usize> {
        let mut depth = 0;
        for ahead in 0.. {
            match self.peek_at(ahead) {
                TokenKind::End => return None,
                TokenKind::Symbol(s) if s == "(" => depth += 1,
                TokenKind::Symbol(s) if s == ")" && depth == 0 => return None,
                TokenKind::Symbol(s) if s == ")" => depth -= 1,
                TokenKind::Word(w)
                    if depth == 0
                        && ["union", "intersect", "minus"]
                            .iter()
                            .any(|set| w.eq_ignore_ascii_case(set)) =>
                {
                    return None;
                }
                TokenKind::Word(w)
                    if depth == 0
                        && w.eq_ignore_ascii_case("window")
                        && self.is_word_at(ahead + 2, "as") =>
                {
                    return Some(ahead);
                }
                _ => {}
            }
        }
        None
    }

    /// `WINDOW name AS (...), ...`
    pub(crate) fn window_clause(&mut self) -> Result<NamedWindows> {
        self.expect_word("window")?;
        self.windows.push(NamedWindows::new());
        let parsed = self.comma_separated(|p| {
            let name = p.identifier()?;
            p.expect_word("as")?;
            let spec = if p.is_symbol("(") {
                p.window_spec()?
            } else {
                let other = p.identifier()?;
                p.named_window(&other)?
            };
            if let Some(windows) = p.windows.last_mut() {
                windows.insert(name.to_lowercase(), spec);
            }
            Ok(())
        });
        let windows = self.windows.pop().unwrap_or_default();
        parsed.map(|_| windows)
    }

    pub(crate) fn sort_orders(&mut self) -> Result<Vec<SortOrder>> {
        self.comma_separated(Self::sort_order)
    }

    /// `e [ASC|DESC] [NULLS FIRST|LAST]`; nulls are least unless said otherwise.
    pub(crate) fn sort_order(&mut self) -> Result<SortOrder> {
        let child = self.expression()?;
        let mut order = ascending(child);
        if self.eat_word("desc") {
            order.direction = SortDirection::Descending as i32;
            order.null_ordering = NullOrdering::SortNullsLast as i32;
        } else {
            self.eat_word("asc");
        }
        if self.eat_words(&["nulls", "first"]) {
            order.null_ordering = NullOrdering::SortNullsFirst as i32;
        } else if self.eat_words(&["nulls", "last"]) {
            order.null_ordering = NullOrdering::SortNullsLast as i32;
        }
        Ok(order)
    }
}

pub(crate) fn ascending(child: Expression) -> SortOrder {
    SortOrder {
        child: Some(Box::new(child)),
        direction: SortDirection::Ascending as i32,
        null_ordering: NullOrdering::SortNullsFirst as i32,
    }
}

/// `-value`, within the literal where it is one.
fn negated(mut value: Expression) -> Expression {
    if let Some(ExprType::Literal(literal)) = &mut value.expr_type {
        let opposite = match literal.literal_type {
            Some(LiteralType::Byte(n)) => n.checked_neg().map(LiteralType::Byte),
            Some(LiteralType::Short(n)) => n.checked_neg().map(LiteralType::Short),
            Some(LiteralType::Integer(n)) => n.checked_neg().map(LiteralType::Integer),
            Some(LiteralType::Long(n)) => n.checked_neg().map(LiteralType::Long),
            Some(LiteralType::DayTimeInterval(n)) => {
                n.checked_neg().map(LiteralType::DayTimeInterval)
            }
            Some(LiteralType::YearMonthInterval(n)) => {
                n.checked_neg().map(LiteralType::YearMonthInterval)
            }
            Some(LiteralType::Double(n)) => Some(LiteralType::Double(-n)),
            _ => None,
        };
        if opposite.is_some() {
            literal.literal_type = opposite;
            return value;
        }
    }
    call("negative", vec![value])
}
