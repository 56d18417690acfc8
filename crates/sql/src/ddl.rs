//! `CREATE`, `DROP`, `INSERT` and `TRUNCATE`.

use std::collections::BTreeMap;

use pyrite_proto::error::SparkError;
use spark_connect_proto as connect;
use spark_connect_proto::data_type::{Kind, StructField};
use spark_connect_proto::relation::RelType;
use spark_connect_proto::{DataType, Expression};

use crate::command::{CreateTable, Insert, InsertTarget, SqlCommand};
use crate::data_type::struct_of;
use crate::error::Result;
use crate::lexer::TokenKind;
use crate::message::relation;
use crate::parser::Parser;

impl Parser<'_> {
    pub(crate) fn create(&mut self) -> Result<SqlCommand> {
        let is_replace = self.eat_word("replace");
        let mut replace = is_replace;
        if !is_replace {
            self.expect_word("create")?;
            replace = self.eat_words(&["or", "replace"]);
        }
        let global = self.eat_word("global");
        let temporary = self.eat_word("temporary") || self.eat_word("temp");
        if self.eat_word("view") {
            return self.create_view(replace, global, temporary);
        }
        if self.is_any_word(&["database", "schema", "namespace"]) && !temporary {
            self.advance();
            return self.create_database();
        }
        let external = self.eat_word("external");
        if self.eat_word("table") && !temporary {
            return self.create_table(replace, external);
        }
        Err(SparkError::not_supported(format!(
            "CREATE {}",
            self.rest_of_text()
        )))
    }

    fn create_view(&mut self, replace: bool, global: bool, temporary: bool) -> Result<SqlCommand> {
        let if_not_exists = self.eat_words(&["if", "not", "exists"]);
        if temporary && if_not_exists {
            return Err(crate::error::parse_error(
                "INVALID_SQL_SYNTAX.CREATE_TEMP_VIEW_WITH_IF_NOT_EXISTS",
                "42000",
                "It is not allowed to define a TEMPORARY view with IF NOT EXISTS.",
            ));
        }
        let name = self.multipart_identifier()?;
        let mut columns = Vec::new();
        let mut schema = None;
        if self.is_symbol("(") {
            // With USING the list is a schema, otherwise it renames columns.
            let attempt = self.attempt(|p| {
                let names = p.parenthesized(|p| {
                    let name = p.identifier()?;
                    if p.eat_word("comment") {
                        p.string_literal()?;
                    }
                    Ok(name)
                })?;
                Ok(names)
            });
            match attempt {
                Ok(names) => columns = names,
                Err(_) => schema = Some(self.column_definitions()?),
            }
        }
        if temporary && self.is_word("using") {
            return self.create_view_using(name, replace, global, schema);
        }
        let mut comment = None;
        loop {
            if self.eat_word("comment") {
                comment = Some(self.string_literal()?);
            } else if self.eat_word("tblproperties") {
                self.properties()?;
            } else if self.eat_words(&["partitioned", "on"]) {
                self.parenthesized(Self::identifier)?;
            } else {
                break;
            }
        }
        self.expect_word("as")?;
        let query = self.query()?;
        if !temporary {
            return Ok(SqlCommand::CreateView {
                name,
                if_not_exists,
                replace,
                columns,
                comment,
                query,
            });
        }
        let name = self.temp_view_name(name)?;
        Ok(SqlCommand::CreateTempView {
            name,
            global,
            replace,
            columns,
            query,
        })
    }

    fn temp_view_name(&self, parts: Vec<String>) -> Result<String> {
        let mut parts = parts;
        match (parts.len(), parts.pop()) {
            (1, Some(name)) => Ok(name),
            (_, last) => {
                parts.extend(last);
                let name = parts.join(".");
                Err(crate::error::parse_error(
                    "TEMP_VIEW_NAME_TOO_MANY_NAME_PARTS",
                    "428EK",
                    format!("CREATE TEMPORARY VIEW or the corresponding Dataset APIs only accept single-part view names, but got: `{name}`."),
                )
                .with("actualName", name))
            }
        }
    }

    /// `CREATE TEMPORARY VIEW name USING source OPTIONS (...)`
    fn create_view_using(
        &mut self,
        name: Vec<String>,
        replace: bool,
        global: bool,
        schema: Option<DataType>,
    ) -> Result<SqlCommand> {
        self.advance();
        let format = self.multipart_identifier()?.join(".");
        let mut options = BTreeMap::new();
        if self.eat_word("options") {
            options = self.properties()?;
        }
        let name = self.temp_view_name(name)?;
        let schema = schema
            .map(|s| crate::ddl_text::schema_text(&s))
            .transpose()?;
        let path_key = options
            .keys()
            .find(|k| k.eq_ignore_ascii_case("path"))
            .cloned();
        let paths = path_key
            .and_then(|key| options.remove(&key))
            .into_iter()
            .collect();
        let query = relation(RelType::Read(connect::Read {
            is_streaming: false,
            read_type: Some(connect::read::ReadType::DataSource(
                connect::read::DataSource {
                    format: Some(format),
                    schema,
                    options: options.into_iter().collect(),
                    paths,
                    ..Default::default()
                },
            )),
        }));
        Ok(SqlCommand::CreateTempView {
            name,
            global,
            replace,
            columns: Vec::new(),
            query,
        })
    }

    fn create_database(&mut self) -> Result<SqlCommand> {
        let if_not_exists = self.eat_words(&["if", "not", "exists"]);
        let name = self.multipart_identifier()?;
        let (mut comment, mut location, mut properties) = (None, None, BTreeMap::new());
        loop {
            if self.eat_word("comment") {
                comment = Some(self.string_literal()?);
            } else if self.eat_words(&["managed", "location"]) || self.eat_word("location") {
                location = Some(self.string_literal()?);
            } else if self.eat_words(&["with", "dbproperties"])
                || self.eat_words(&["with", "properties"])
            {
                properties = self.properties()?;
            } else {
                return Ok(SqlCommand::CreateDatabase {
                    name,
                    if_not_exists,
                    comment,
                    location,
                    properties,
                });
            }
        }
    }

    /// `(a INT, b STRING)`
    fn column_definitions(&mut self) -> Result<DataType> {
        self.expect_symbol("(")?;
        let schema = self.table_schema()?;
        self.expect_symbol(")")?;
        Ok(schema)
    }

    fn create_table(&mut self, replace: bool, external: bool) -> Result<SqlCommand> {
        let if_not_exists = self.eat_words(&["if", "not", "exists"]);
        let mut table = CreateTable {
            name: self.multipart_identifier()?,
            if_not_exists,
            replace,
            external,
            ..Default::default()
        };
        if self.is_word("like") {
            return Err(SparkError::not_supported("CREATE TABLE LIKE"));
        }
        if self.is_symbol("(") && !self.is_query_start() {
            table.schema = Some(self.column_definitions()?);
        }
        while self.table_clause(&mut table)? {}
        let has_as = self.eat_word("as");
        if has_as || self.is_query_start() {
            table.query = Some(self.query()?);
        }
        Ok(SqlCommand::CreateTable(Box::new(table)))
    }

    /// One clause of `CREATE TABLE`; false when there is none.
    fn table_clause(&mut self, table: &mut CreateTable) -> Result<bool> {
        if self.eat_word("using") {
            table.provider = Some(self.multipart_identifier()?.join(".").to_lowercase());
        } else if self.eat_words(&["stored", "as"]) {
            table.provider = Some(self.identifier()?.to_lowercase());
        } else if self.eat_word("options") {
            table.options = self.properties()?;
        } else if self.eat_word("tblproperties") {
            table.properties = self.properties()?;
        } else if self.eat_word("location") {
            table.location = Some(self.string_literal()?);
        } else if self.eat_word("comment") {
            table.comment = Some(self.string_literal()?);
        } else if self.eat_words(&["partitioned", "by"]) {
            self.partitioned_by(table)?;
        } else if self.eat_words(&["clustered", "by"]) {
            let columns = self.parenthesized(Self::identifier)?;
            let mut sorted = Vec::new();
            if self.eat_words(&["sorted", "by"]) {
                sorted = self.parenthesized(|p| {
                    let name = p.identifier()?;
                    p.eat_word("asc");
                    Ok(name)
                })?;
            }
            self.expect_word("into")?;
            let buckets = self.row_count("buckets")?;
            self.expect_word("buckets")?;
            table.bucketed_by = Some((buckets, columns, sorted));
        } else if self.is_words(&["row", "format"]) {
            return Err(SparkError::not_supported("ROW FORMAT"));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Columns to partition by: names, or definitions that join the schema.
    fn partitioned_by(&mut self, table: &mut CreateTable) -> Result<()> {
        let names = self.attempt(|p| p.parenthesized(Self::identifier));
        if let Ok(names) = names {
            table.partitioned_by = names;
            return Ok(());
        }
        if matches!(self.peek_at(1), TokenKind::Word(_)) && self.is_symbol_at(2, "(") {
            return Err(SparkError::not_supported("partition transforms"));
        }
        let more = self.column_definitions()?;
        let more = fields_of(more);
        table.partitioned_by = more.iter().map(|f| f.name.clone()).collect();
        let mut fields = table.schema.take().map(fields_of).unwrap_or_default();
        fields.extend(more);
        table.schema = Some(struct_of(fields));
        Ok(())
    }

    pub(crate) fn drop(&mut self) -> Result<SqlCommand> {
        self.advance();
        if self.is_any_word(&["database", "schema", "namespace"]) {
            self.advance();
            let if_exists = self.eat_words(&["if", "exists"]);
            let name = self.multipart_identifier()?;
            let cascade = self.eat_word("cascade");
            if !cascade {
                self.eat_word("restrict");
            }
            return Ok(SqlCommand::DropDatabase {
                name,
                if_exists,
                cascade,
            });
        }
        if self.eat_word("view") {
            let if_exists = self.eat_words(&["if", "exists"]);
            return Ok(SqlCommand::DropView {
                name: self.multipart_identifier()?,
                if_exists,
            });
        }
        if self.eat_word("table") {
            let if_exists = self.eat_words(&["if", "exists"]);
            let name = self.multipart_identifier()?;
            let purge = self.eat_word("purge");
            return Ok(SqlCommand::DropTable {
                name,
                if_exists,
                purge,
            });
        }
        Err(SparkError::not_supported(format!(
            "DROP {}",
            self.rest_of_text()
        )))
    }

    pub(crate) fn insert(&mut self) -> Result<SqlCommand> {
        self.expect_word("insert")?;
        let overwrite = self.eat_word("overwrite");
        if !overwrite {
            self.expect_word("into")?;
        }
        if overwrite && (self.is_word("directory") || self.is_words(&["local", "directory"])) {
            return self.insert_directory();
        }
        if self.is_word("table") {
            self.advance();
        }
        let target = InsertTarget::Table(self.multipart_identifier()?);
        let partition = self.partition_values()?;
        let if_not_exists = self.eat_words(&["if", "not", "exists"]);
        let by_name = self.eat_words(&["by", "name"]);
        let columns = if self.is_symbol("(") && !self.is_query_start() {
            self.parenthesized(Self::identifier)?
        } else {
            Vec::new()
        };
        if self.is_words(&["replace", "where"]) {
            return Err(SparkError::not_supported("INSERT INTO ... REPLACE WHERE"));
        }
        let query = self.query()?;
        Ok(SqlCommand::Insert(Box::new(Insert {
            target,
            overwrite,
            columns,
            by_name,
            partition,
            if_not_exists,
            query,
        })))
    }

    fn insert_directory(&mut self) -> Result<SqlCommand> {
        self.eat_word("local");
        self.expect_word("directory")?;
        let mut path = match self.peek() {
            TokenKind::Text(_) => Some(self.string_literal()?),
            _ => None,
        };
        if !self.eat_word("using") {
            return Err(SparkError::not_supported(
                "INSERT OVERWRITE DIRECTORY without USING",
            ));
        }
        let provider = self.multipart_identifier()?.join(".").to_lowercase();
        let mut options = BTreeMap::new();
        if self.eat_word("options") {
            options = self.properties()?;
        }
        if path.is_none() {
            path = options.remove("path");
        }
        let path = path.ok_or_else(|| self.unexpected())?;
        let query = self.query()?;
        Ok(SqlCommand::Insert(Box::new(Insert {
            target: InsertTarget::Directory {
                path,
                provider,
                options,
            },
            overwrite: true,
            columns: Vec::new(),
            by_name: false,
            partition: Vec::new(),
            if_not_exists: false,
            query,
        })))
    }

    /// `PARTITION (a = 1, b)`, if there is one.
    fn partition_values(&mut self) -> Result<Vec<(String, Option<Expression>)>> {
        if !self.eat_word("partition") {
            return Ok(Vec::new());
        }
        self.parenthesized(|p| {
            let name = p.identifier()?;
            let value = if p.eat_symbol("=") {
                Some(p.expression()?)
            } else {
                None
            };
            Ok((name, value))
        })
    }

    pub(crate) fn truncate(&mut self) -> Result<SqlCommand> {
        self.advance();
        self.expect_word("table")?;
        let name = self.multipart_identifier()?;
        Ok(SqlCommand::Truncate {
            name,
            partition: self.partition_values()?,
        })
    }
}

/// The fields of a struct type.
fn fields_of(schema: DataType) -> Vec<StructField> {
    match schema.kind {
        Some(Kind::Struct(s)) => s.fields,
        _ => Vec::new(),
    }
}
