//! Spark SQL text in, Spark Connect messages out.
//!
//! Pure: no catalog, no session, no I/O, and nothing of DataFusion. `sqlparser` cuts the text into tokens
//! through its Spark dialect; the grammar over them is ours, because Spark's differs in most clauses (order
//! of `HAVING` and `SORT BY`, `LATERAL VIEW` between joins, precedences, types, literals, intervals, hardly a
//! reserved word) and because it puts out the messages that the DataFrame API sends, without a second syntax
//! tree in between. So names, functions and types are resolved in one place for both.
//!
//! Where to start reading: [`parse`] and [`Statement`], then `query` (one `SELECT`), `relation` (the
//! `FROM` clause) and `expression`. Commands without a Connect message are data in [`SqlCommand`].
//!
//! # How SQL is represented in Connect messages
//!
//! Nothing here is resolved: ordinals, `GROUP BY ALL`, aliases in `GROUP BY`/`HAVING`/`ORDER BY`, lateral
//! column aliases and outer references are left to analysis, as in Spark. Messages carry no field that a
//! DataFrame client would not also send, except for the conventions in **bold**.
//!
//! ## Relations
//!
//! | SQL | message |
//! |---|---|
//! | `SELECT list` without `FROM` | `Project` without `input` |
//! | `SELECT list FROM t` | `Project { input, expressions }`. An integer literal in the list is just a literal. Global aggregates (`SELECT count(*) FROM t`) are also a `Project`, as `df.select(count("*"))` is |
//! | `WHERE c` | `Filter` below the `Project`/`Aggregate` |
//! | `GROUP BY` | **`Aggregate { group_type: UNSPECIFIED }`: `aggregate_expressions` is the whole select list and the whole output**; unlike the DataFrame kinds, grouping columns are not added to it. `grouping_expressions` are as written; an integer literal is an ordinal; the single attribute `ALL` is `GROUP BY ALL` unless there is such a column |
//! | `ROLLUP`, `CUBE`, `GROUPING SETS` (also mixed, also `WITH ROLLUP`) | the same `Aggregate` with **`grouping_sets` already multiplied out**; `grouping_expressions` is the list of distinct keys, in order of appearance (that is the bit order of `grouping_id()`) |
//! | `HAVING c` | `Filter` directly over that `Aggregate`, or, without `GROUP BY`, over an `Aggregate` with no grouping expressions. The condition may hold aggregate functions, select aliases and grouping expressions |
//! | `SELECT DISTINCT` | `Deduplicate { all_columns_as_keys: true }` over the projection |
//! | `ORDER BY` | `Sort { is_global: true }`, over `Project`/`Aggregate`/`Filter` (having)/`Deduplicate`. Integer literal = ordinal, attribute `ALL` = every column. May refer to columns or aggregates that the child does not put out (Spark's *missing references*) |
//! | `SORT BY` | `Sort { is_global: false }` |
//! | `DISTRIBUTE BY` | `RepartitionByExpression` without `num_partitions` |
//! | `CLUSTER BY` | local `Sort` over `RepartitionByExpression` |
//! | `LIMIT n`, `OFFSET n` | `Limit` over `Offset`. Constant arithmetic is folded here, anything else is refused |
//! | `UNION [ALL] [BY NAME]`, `INTERSECT`, `EXCEPT`/`MINUS` | `SetOperation { is_all, by_name }` |
//! | `t`, `db.t`, `` `a b` `` | `Read.NamedTable { unparsed_identifier }`, parts quoted when needed |
//! | `` parquet.`/path` `` | also `Read.NamedTable`, whose identifier is `` parquet.`/path` ``: whether the first part is a data source or a schema is for the catalog to say |
//! | `t AS x` | `SubqueryAlias { alias: "x" }` |
//! | `t AS x (a, b)` | `SubqueryAlias` over `ToDF { column_names }` |
//! | `(SELECT ...)` in `FROM` without a name | `SubqueryAlias { alias: "__auto_generated_subquery_name" }`, Spark's own name for it. So a `Filter` directly over an `Aggregate` of unspecified type is always `HAVING` |
//! | `VALUES (1, 'a'), (2, 'b')` | **`UnresolvedTableValuedFunction { function_name: "values" }`, one `struct(...)` call a row.** Columns are `col1`, `col2`, ...; values of one column are brought to their common type |
//! | `range(...)` with integer literals | `Range` |
//! | `explode(x)` and other functions in `FROM` | `UnresolvedTableValuedFunction`; arguments may be `NamedArgumentExpression`s or `SubqueryExpression`s of type table argument |
//! | `a JOIN b ON c` | `Join { join_type, join_condition }` |
//! | `a JOIN b USING (x)` | `Join { using_columns: ["x"] }` |
//! | `a NATURAL JOIN b` | **`Join { using_columns: ["*"] }`**: every name that both sides have |
//! | `a CROSS JOIN b`, `a, b` | `Join { join_type: CROSS }` |
//! | `a, LATERAL (SELECT ...)`, `a JOIN LATERAL f(x) ON c` | `LateralJoin`; columns of the left side are plain attributes inside the right side, resolved there when the inner scope has none |
//! | `LATERAL VIEW [OUTER] f(x) t AS c` | `LateralJoin { left, right: SubqueryAlias(ToDF(UnresolvedTableValuedFunction)), join_type: INNER }`, `LEFT_OUTER` for `OUTER` |
//! | `TABLESAMPLE (n PERCENT)`, `(BUCKET x OUT OF y)` | `Sample` without replacement |
//! | `TABLESAMPLE (n ROWS)` | `Limit` |
//! | `PIVOT (agg FOR c IN (v ...))` | `Aggregate { group_type: PIVOT, pivot }` with **`grouping_expressions` = one `UnresolvedStar`**: every input column that neither the pivot column nor the aggregates mention. Several pivot columns: `pivot.col` is `struct(c, d)`, values are struct literals. `v AS name`: **the literal is a struct literal whose type is a struct of exactly one field, named as the alias** |
//! | `UNPIVOT` | `Unpivot` with **`ids` = one `UnresolvedStar`**: every column that is not a value; `a AS x` is an `Alias` among the values. `Filter(isnotnull(value))` above it unless `INCLUDE NULLS` |
//! | `/*+ BROADCAST(t), REPARTITION(3) */` | `Hint { name, parameters }`, names in upper case; partitioning hints over the select list (below `ORDER BY`), the others over its input |
//! | `QUALIFY c` | the condition as a last column `__qualify`, a `Filter` on it, and a `Drop` of it |
//! | `FROM t \|> WHERE ... \|> AGGREGATE ...` | the relations of the clauses of the same name; `EXTEND` is `Project(*, ...)`, `SET` is `WithColumns`, `DROP` is `Drop` |
//! | `WITH c AS (...)` | inlined: each reference becomes `SubqueryAlias { alias: "c", input: <the query> }`. Scopes nest as in Spark (the inner name wins) |
//! | a query with subquery expressions | `WithRelations { root, references }` around the *whole query block* (set operation, `ORDER BY` and `LIMIT` included), one reference a subquery, found by `RelationCommon.plan_id` (ids count up from [`FIRST_PLAN_ID`]) |
//!
//! ## Expressions
//!
//! Functions and operators are `UnresolvedFunction`s under the names that `pyspark.sql.connect` sends, in
//! lower case. Conventions of ours have `is_internal: Some(true)`, so they cannot be mistaken for functions.
//!
//! | SQL | message |
//! |---|---|
//! | `a`, `t.a`, `t.a.b` | `UnresolvedAttribute { unparsed_identifier }`; parts quoted with backticks when they are not plain |
//! | `*`, `t.*` | `UnresolvedStar { unparsed_target: None / "t.*" }` |
//! | `* EXCEPT (a, b)` | **internal `except(star, a, b)`** |
//! | `e AS x`, `e x` | `Alias { name: [x] }`; `e AS (x, y)` has two names. No alias, no `Alias`: analysis makes Spark's name |
//! | `=` `==`, `<` `<=` `>` `>=`, `<=>` | `==`, `<`, `<=`, `>`, `>=`, `<=>` |
//! | `<>` `!=` | `not(==(a, b))` |
//! | `a IS [NOT] DISTINCT FROM b` | `not(<=>(a, b))`, `<=>(a, b)` |
//! | `AND` `OR` `NOT` `!` | `and`, `or`, `not` |
//! | `+ - * / %`, `DIV`, unary `-`, unary `+` | `+ - * / %`, `div`, `negative`, `positive`; a minus before a number literal belongs to the literal |
//! | `& \| ^ ~`, `<<`, `>>`, `>>>` | `& \| ^ ~`, `<<`, `>>`, `>>>` |
//! | `a \|\| b` | `concat(a, b)` |
//! | `a [NOT] BETWEEN x AND y` | `between(a, x, y)`, `not(...)` (Spark 4's own name; the DataFrame API sends `and(>=, <=)`) |
//! | `a [NOT] IN (x, y)` | `in(a, x, y)`, `not(in(...))` |
//! | `a IN (SELECT ...)`, `(a, b) IN (SELECT ...)` | `SubqueryExpression { IN, in_subquery_values }` |
//! | `EXISTS (SELECT ...)`, `(SELECT ...)` | `SubqueryExpression { EXISTS / SCALAR }` |
//! | `LIKE`, `ILIKE`, `RLIKE`/`REGEXP` | `like(a, p)`, `ilike(a, p)`, `rlike(a, p)`; `ESCAPE 'c'` is a third argument |
//! | `a LIKE ANY/ALL (x, y)` | `or`/`and` of the single ones; the negated form negates each |
//! | `IS [NOT] NULL`, `IS [NOT] TRUE/FALSE/UNKNOWN` | `isnull`, `isnotnull`; `<=>(a, true)`, `not(...)`; `isnull` |
//! | `CASE WHEN c THEN x ... ELSE y END` | `when(c, x, ..., y)`; `CASE v WHEN x` compares with `==` |
//! | `CAST(a AS t)`, `a::t`, `TRY_CAST` | `Cast { type, eval_mode: unset / TRY }` |
//! | `f(a, b)`, `f(DISTINCT a)` | `UnresolvedFunction { function_name, arguments, is_distinct }`; `schema.f` keeps its dots |
//! | `a COLLATE c` | `collate(a, "c")` |
//! | `count(*)` | `count` of one `UnresolvedStar` |
//! | `f(x => 1)` | `NamedArgumentExpression` |
//! | `f(TABLE(t))`, `f(TABLE(t) PARTITION BY a ORDER BY b)` | `SubqueryExpression { TABLE_ARG, table_arg_options }` |
//! | `f(a) FILTER (WHERE c)` | **internal `aggregate_filter(f(a), c)`** |
//! | `f(a) WITHIN GROUP (ORDER BY b)` | **internal `within_group(f(a), SortOrder...)`** |
//! | `first(a) IGNORE NULLS` | the argument PySpark uses: `first(a, true)`; for `first_value`, `last`, `last_value`, `any_value`, `nth_value` alike; for `lag` and `lead` **internal `ignore_nulls(lag(a))`**; `RESPECT NULLS` leaves no trace |
//! | `f(a) OVER (...)`, `OVER w` | `Window`; named windows are inlined. Frame bounds are values, negative before the current row |
//! | `x -> e`, `(x, y) -> e` | `LambdaFunction`; its variables are `UnresolvedNamedLambdaVariable`s in the body, under the names written |
//! | `a[0]`, `m['k']`, `f(x).b` | `UnresolvedExtractValue { child, extraction }`; a field name is a string literal |
//! | `(a, b)`, `struct(a AS x)` | `struct(...)`, with `Alias` arguments where named |
//! | `EXTRACT(f FROM d)` | `extract("f", d)` |
//! | `TRIM([BOTH\|LEADING\|TRAILING] [c] FROM s)` | `trim`/`ltrim`/`rtrim` `(s[, c])` |
//! | `SUBSTRING(s FROM a FOR b)`, `POSITION(a IN b)`, `OVERLAY(s PLACING r FROM a FOR b)` | `substring`, `position`, `overlay` with plain arguments |
//! | `TIMESTAMPADD(DAY, n, t)`, `DATEADD`, `TIMESTAMPDIFF`, `DATEDIFF` with a unit | `timestampadd("DAY", n, t)`, `timestampdiff("DAY", a, b)` |
//! | `current_date`, `current_timestamp`, `current_user`, `user`, `session_user`, `localtimestamp` without parentheses | calls without arguments |
//! | `1`, `1L`, `1S`, `1Y`, `1.5`, `1.5D`, `1.5F`, `1.5BD`, `1e3` | `Literal` integer (long, then decimal, when too large), long, short, byte, decimal, double, float, decimal, double |
//! | `'a\n'`, `"a"`, `r'a\n'`, `X'1F'`, `'a' 'b'` | `Literal` string, string, string without escapes, binary, one string |
//! | `DATE '...'`, `TIMESTAMP '...+01:00'`, `TIMESTAMP_NTZ '...'` | `Literal` date, timestamp (when the text names a zone or offset of its own), timestamp_ntz |
//! | `TIMESTAMP '...'`, `TIMESTAMP_LTZ '...'` without a zone | `Cast` of the string literal to timestamp: the session's time zone is not known here |
//! | `INTERVAL '1' DAY`, `INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL 1 DAY 2 HOURS` | `Literal` day-time (microseconds) or year-month (months) interval; `data_type` has the fields |
//! | `:p`, `?` | replaced by the arguments of [`parse_with_arguments`]; unbound ones are `UNBOUND_SQL_PARAMETER` |
//! | `IDENTIFIER('a.b')` | the name, as if written there (constant strings and parameters) |

mod command;
mod data_type;
mod datetime;
mod ddl;
mod ddl_text;
mod error;
mod expression;
mod function;
mod interval;
mod lexer;
mod literal;
mod message;
mod parser;
mod pipe;
mod pivot;
mod primary;
mod query;
mod relation;
mod select;
mod statement;
mod window;

#[cfg(test)]
mod tests;

pub use command::{CreateTable, ExplainMode, Insert, InsertTarget, Name, SqlCommand, Statement};
pub use ddl_text::{schema_text, type_text};
pub use error::Result;
pub use message::quote_identifier;
pub use parser::{Arguments, FIRST_PLAN_ID};

use parser::Parser;
use spark_connect_proto::{DataType, Expression, Relation};

/// Parses one statement.
///
/// # Errors
/// `PARSE_SYNTAX_ERROR` and its kin with the place in the text; `UNBOUND_SQL_PARAMETER` for `?` and `:name`;
/// `UNSUPPORTED_FEATURE` for what Spark knows and Pyrite does not yet.
pub fn parse(sql: &str) -> Result<Statement> {
    parse_with_arguments(sql, &Arguments::default())
}

/// Parses one statement, with values for its parameters.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_arguments(sql: &str, arguments: &Arguments) -> Result<Statement> {
    Parser::new(sql, arguments)?.statement()
}

/// Parses an expression as in a select list, with an optional alias.
///
/// # Errors
/// As [`parse`]; an expression with subqueries is refused, see [`parse_expression_with_subqueries`].
pub fn parse_expression(sql: &str) -> Result<Expression> {
    match parse_expression_with_subqueries(sql)? {
        (expression, subqueries) if subqueries.is_empty() => Ok(expression),
        _ => Err(pyrite_proto::error::SparkError::not_supported(
            "a subquery in this expression string",
        )),
    }
}

/// Parses an expression and the relations that its subquery expressions refer to by plan id.
///
/// # Errors
/// As [`parse`].
pub fn parse_expression_with_subqueries(sql: &str) -> Result<(Expression, Vec<Relation>)> {
    let arguments = Arguments::default();
    let mut parser = Parser::new(sql, &arguments)?;
    parser.references.push(Vec::new());
    let expression = parser.named_expression()?;
    parser.expect_end()?;
    Ok((expression, parser.references.pop().unwrap_or_default()))
}

/// Parses a data type such as `array<struct<a:int>>`.
///
/// # Errors
/// `PARSE_SYNTAX_ERROR`, or `UNSUPPORTED_DATATYPE` for unknown names.
pub fn parse_data_type(ddl: &str) -> Result<DataType> {
    let arguments = Arguments::default();
    let mut parser = Parser::new(ddl, &arguments)?;
    let data_type = parser.data_type()?;
    parser.expect_end()?;
    Ok(data_type)
}

/// Parses a table schema such as `a INT NOT NULL COMMENT 'key', b STRING` into a struct type.
///
/// # Errors
/// As [`parse_data_type`].
pub fn parse_schema(ddl: &str) -> Result<DataType> {
    let arguments = Arguments::default();
    let mut parser = Parser::new(ddl, &arguments)?;
    if parser.at_end() {
        return Ok(data_type::struct_of(Vec::new()));
    }
    let schema = parser.table_schema()?;
    parser.expect_end()?;
    Ok(schema)
}

/// Parses what PySpark takes wherever a type is asked for: a table schema, a type, or the inside of a struct.
///
/// # Errors
/// That of reading it as a table schema, when none of them fits.
pub fn parse_data_type_or_schema(ddl: &str) -> Result<DataType> {
    parse_schema(ddl).or_else(|error| {
        parse_data_type(ddl)
            .or_else(|_| parse_data_type(&format!("struct<{}>", ddl.trim())))
            .map_err(|_| error)
    })
}

/// Splits a name such as `` a.`b c`.d `` into its parts.
///
/// # Errors
/// `PARSE_SYNTAX_ERROR` when it is no name.
pub fn parse_identifier(name: &str) -> Result<Vec<String>> {
    let arguments = Arguments::default();
    let mut parser = Parser::new(name, &arguments)?;
    let parts = parser.multipart_identifier()?;
    parser.expect_end()?;
    Ok(parts)
}

/// Splits a column name as `UnresolvedAttribute.parseAttributeName` does: at dots outside backticks, with
/// anything at all between them (`a b.c` has the parts `a b` and `c`).
///
/// # Errors
/// `INVALID_ATTRIBUTE_NAME_SYNTAX` for unbalanced or misplaced backticks and empty parts.
pub fn parse_attribute_name(name: &str) -> Result<Vec<String>> {
    let invalid = || {
        pyrite_proto::error::SparkError::new(
            pyrite_proto::error::class::ANALYSIS,
            "INVALID_ATTRIBUTE_NAME_SYNTAX",
            "42601",
            format!("Syntax error in the attribute name: {name}. Check that backticks appear in pairs, a quoted string is a complete name part and use a backtick only inside quoted name parts."),
        )
        .with("name", name)
    };
    let mut parts = Vec::new();
    let mut rest = name;
    loop {
        let tail;
        if let Some(quoted) = rest.strip_prefix('`') {
            let mut part = String::new();
            let mut chars = quoted.char_indices().peekable();
            let end = loop {
                match chars.next().ok_or_else(invalid)? {
                    (_, '`') if chars.next_if(|(_, c)| *c == '`').is_some() => part.push('`'),
                    (index, '`') => break index + 1,
                    (_, c) => part.push(c),
                }
            };
            parts.push(part);
            tail = &quoted[end..];
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            if rest[..end].contains('`') || rest[..end].is_empty() {
                return Err(invalid());
            }
            parts.push(rest[..end].to_owned());
            tail = &rest[end..];
        }
        if tail.is_empty() {
            return Ok(parts);
        }
        rest = tail.strip_prefix('.').ok_or_else(invalid)?;
    }
}
