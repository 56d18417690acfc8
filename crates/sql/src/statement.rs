//! Statements: which one this is, and all of them but `CREATE`, `DROP` and `INSERT`.

use std::collections::{BTreeMap, HashMap};

use pyrite_proto::error::SparkError;

use crate::command::{ExplainMode, Name, SqlCommand, Statement};
use crate::error::{Result, empty_statement};
use crate::lexer::TokenKind;
use crate::parser::Parser;

impl Parser<'_> {
    /// The whole text as one statement.
    pub(crate) fn statement(&mut self) -> Result<Statement> {
        if self.at_end() || (self.is_symbol(";") && matches!(self.peek_at(1), TokenKind::End)) {
            return Err(empty_statement(self.sql));
        }
        let statement = self.statement_here()?;
        self.expect_end()?;
        Ok(statement)
    }

    pub(crate) fn statement_here(&mut self) -> Result<Statement> {
        if self.is_word("with") || self.is_word("from") {
            return self.query_or_insert();
        }
        if self.is_query_start() {
            return Ok(Statement::Query(self.query()?));
        }
        let TokenKind::Word(word) = self.peek() else {
            return Err(self.unexpected());
        };
        let command = match word.to_ascii_lowercase().as_str() {
            "create" | "replace" => self.create()?,
            "drop" => self.drop()?,
            "insert" => self.insert()?,
            "truncate" => self.truncate()?,
            "set" => self.set()?,
            "reset" => self.reset(),
            "show" => self.show()?,
            "describe" | "desc" => self.describe()?,
            "use" => self.use_database()?,
            "cache" | "uncache" | "clear" | "refresh" => self.cache()?,
            "explain" => self.explain()?,
            "analyze" => self.analyze_table()?,
            "alter" => self.alter()?,
            other => return Err(self.unknown_statement(other)),
        };
        Ok(Statement::Command(command))
    }

    /// Statements that Spark knows and Pyrite does not, and those that nobody knows.
    fn unknown_statement(&self, word: &str) -> SparkError {
        const KNOWN: &[&str] = &[
            "delete", "update", "merge", "load", "add", "list", "comment", "repair", "msck",
            "export", "import", "lock", "unlock", "declare", "execute", "begin", "call", "grant",
            "revoke", "dfs",
        ];
        if KNOWN.contains(&word) {
            return SparkError::not_supported(format!("the statement {}", word.to_uppercase()));
        }
        self.unexpected()
    }

    /// `WITH ... SELECT` or `WITH ... INSERT`; `FROM t INSERT` is refused.
    fn query_or_insert(&mut self) -> Result<Statement> {
        if self.is_word("with") {
            let start = self.index;
            let scopes = self.ctes.len();
            self.advance();
            let named = self.common_table_expressions();
            if named.is_ok() && self.is_word("insert") {
                let command = self.insert();
                self.ctes.truncate(scopes);
                return Ok(Statement::Command(command?));
            }
            self.ctes.truncate(scopes);
            self.index = start;
        }
        Ok(Statement::Query(self.query()?))
    }

    fn set(&mut self) -> Result<SqlCommand> {
        self.advance();
        if self.eat_word("catalog") {
            let name = match self.peek() {
                TokenKind::Text(_) => self.string_literal()?,
                _ => self.identifier()?,
            };
            return Ok(SqlCommand::SetCatalog { name });
        }
        if self.eat_words(&["time", "zone"]) {
            let value = match self.peek() {
                TokenKind::Text(_) => self.string_literal()?,
                _ => self.rest_of_text().to_owned(),
            };
            return Ok(SqlCommand::SetConf {
                key: "spark.sql.session.timeZone".to_owned(),
                value,
            });
        }
        if self.is_any_word(&["var", "variable"]) {
            return Err(SparkError::not_supported("session variables"));
        }
        let text = self.rest_of_text();
        let unquoted = |text: &str| text.trim().trim_matches('`').to_owned();
        if text.is_empty() {
            return Ok(SqlCommand::ShowConf {
                key: None,
                verbose: false,
            });
        }
        if text == "-v" {
            return Ok(SqlCommand::ShowConf {
                key: None,
                verbose: true,
            });
        }
        Ok(match text.split_once('=') {
            Some((key, value)) => SqlCommand::SetConf {
                key: unquoted(key),
                value: unquoted(value),
            },
            None => SqlCommand::ShowConf {
                key: Some(unquoted(text)),
                verbose: false,
            },
        })
    }

    fn reset(&mut self) -> SqlCommand {
        self.advance();
        let text = self.rest_of_text();
        let key = (!text.is_empty()).then(|| text.trim_matches('`').to_owned());
        SqlCommand::ResetConf { key }
    }

    fn show(&mut self) -> Result<SqlCommand> {
        self.advance();
        if self.eat_words(&["create", "table"]) {
            let name = self.multipart_identifier()?;
            self.eat_words(&["as", "serde"]);
            return Ok(SqlCommand::ShowCreateTable { name });
        }
        if self.eat_words(&["current", "namespace"])
            || self.eat_words(&["current", "schema"])
            || self.eat_words(&["current", "database"])
        {
            return Ok(SqlCommand::ShowCurrentNamespace);
        }
        if self.eat_words(&["table", "extended"]) {
            let (database, pattern) = self.database_and_pattern()?;
            return Ok(SqlCommand::ShowTables {
                database,
                pattern,
                extended: true,
            });
        }
        if ["functions"]
            .iter()
            .any(|f| self.is_word(f) || self.is_word_at(1, f))
        {
            let scope = if self.is_word("functions") {
                "all".to_owned()
            } else {
                self.identifier()?.to_lowercase()
            };
            self.advance();
            let (_, pattern) = self.database_and_pattern()?;
            return Ok(SqlCommand::ShowFunctions { scope, pattern });
        }
        self.show_list()
    }

    /// `SHOW` with a single word that says what.
    fn show_list(&mut self) -> Result<SqlCommand> {
        let TokenKind::Word(word) = self.peek() else {
            return Err(self.unexpected());
        };
        let word = word.to_ascii_lowercase();
        if !matches!(
            word.as_str(),
            "tables"
                | "views"
                | "databases"
                | "schemas"
                | "namespaces"
                | "catalogs"
                | "columns"
                | "tblproperties"
                | "partitions"
        ) {
            return Err(self.unexpected());
        }
        self.advance();
        Ok(match word.as_str() {
            "tables" => {
                let (database, pattern) = self.database_and_pattern()?;
                SqlCommand::ShowTables {
                    database,
                    pattern,
                    extended: false,
                }
            }
            "views" => {
                let (database, pattern) = self.database_and_pattern()?;
                SqlCommand::ShowViews { database, pattern }
            }
            "catalogs" => SqlCommand::ShowCatalogs {
                pattern: self.database_and_pattern()?.1,
            },
            "columns" => self.show_columns()?,
            "tblproperties" => {
                let name = self.multipart_identifier()?;
                let key = if self.eat_symbol("(") {
                    let key = self.option_key()?;
                    self.expect_symbol(")")?;
                    Some(key)
                } else {
                    None
                };
                SqlCommand::ShowTableProperties { name, key }
            }
            "partitions" => SqlCommand::ShowPartitions {
                name: self.multipart_identifier()?,
            },
            _ => SqlCommand::ShowDatabases {
                pattern: self.database_and_pattern()?.1,
            },
        })
    }

    fn show_columns(&mut self) -> Result<SqlCommand> {
        if !self.eat_word("in") {
            self.expect_word("from")?;
        }
        let mut table = self.multipart_identifier()?;
        if self.eat_word("in") || self.eat_word("from") {
            let schema = self.multipart_identifier()?;
            let name = table.pop().unwrap_or_default();
            table = schema.into_iter().chain([name]).collect();
        }
        Ok(SqlCommand::ShowColumns { table })
    }

    /// `[FROM|IN schema] [[LIKE] 'pattern']`
    fn database_and_pattern(&mut self) -> Result<(Option<Name>, Option<String>)> {
        let database = if self.eat_word("from") || self.eat_word("in") {
            Some(self.multipart_identifier()?)
        } else {
            None
        };
        self.eat_word("like");
        let pattern = match self.peek() {
            TokenKind::Text(_) => Some(self.string_literal()?),
            TokenKind::Word(_) | TokenKind::Quoted(_) => {
                Some(self.multipart_identifier()?.join("."))
            }
            _ => None,
        };
        Ok((database, pattern))
    }

    fn describe(&mut self) -> Result<SqlCommand> {
        self.advance();
        if self.is_word("function") && !self.is_end_at(1) {
            self.advance();
            let extended = self.eat_word("extended");
            let name = match self.peek() {
                TokenKind::Text(_) => vec![self.string_literal()?],
                _ => self.multipart_identifier()?,
            };
            return Ok(SqlCommand::DescribeFunction { name, extended });
        }
        if self.is_any_word(&["database", "schema", "namespace"]) && !self.is_end_at(1) {
            self.advance();
            let extended = self.eat_word("extended");
            return Ok(SqlCommand::DescribeDatabase {
                name: self.multipart_identifier()?,
                extended,
            });
        }
        self.eat_word("query");
        if self.is_query_start() && !self.is_word("table") {
            return Ok(SqlCommand::DescribeQuery {
                query: self.query()?,
            });
        }
        if self.is_word("table") && !self.is_end_at(1) {
            self.advance();
        }
        let extended =
            !self.is_end_at(1) && (self.eat_word("extended") || self.eat_word("formatted"));
        let name = self.multipart_identifier()?;
        if self.is_word("partition") {
            return Err(SparkError::not_supported("DESCRIBE of a partition"));
        }
        if self.eat_words(&["as", "json"]) {
            return Err(SparkError::not_supported("DESCRIBE ... AS JSON"));
        }
        let column = if self.is_identifier() {
            Some(self.multipart_identifier()?)
        } else {
            None
        };
        Ok(SqlCommand::DescribeTable {
            name,
            extended,
            column,
        })
    }

    fn is_end_at(&self, ahead: usize) -> bool {
        matches!(self.peek_at(ahead), TokenKind::End) || self.is_symbol_at(ahead, ";")
    }

    fn use_database(&mut self) -> Result<SqlCommand> {
        self.advance();
        if self.is_any_word(&["database", "schema", "namespace"]) && !self.is_end_at(1) {
            self.advance();
        }
        Ok(SqlCommand::UseDatabase {
            name: self.multipart_identifier()?,
        })
    }

    fn cache(&mut self) -> Result<SqlCommand> {
        if self.eat_words(&["clear", "cache"]) {
            return Ok(SqlCommand::ClearCache);
        }
        if self.eat_word("uncache") {
            self.expect_word("table")?;
            let if_exists = self.eat_words(&["if", "exists"]);
            return Ok(SqlCommand::UncacheTable {
                name: self.multipart_identifier()?,
                if_exists,
            });
        }
        if self.eat_word("refresh") {
            if self.is_word("function") && !self.is_end_at(1) {
                return Err(SparkError::not_supported("REFRESH FUNCTION"));
            }
            if !self.is_end_at(1) {
                self.eat_word("table");
            }
            return Ok(SqlCommand::RefreshTable {
                name: self.multipart_identifier()?,
            });
        }
        self.expect_word("cache")?;
        let lazy = self.eat_word("lazy");
        self.expect_word("table")?;
        let name = self.multipart_identifier()?;
        let options = if self.eat_word("options") {
            self.properties()?
        } else {
            BTreeMap::new()
        };
        self.eat_word("as");
        let query = if self.is_query_start() {
            Some(self.query()?)
        } else {
            None
        };
        Ok(SqlCommand::CacheTable {
            name,
            lazy,
            options,
            query,
        })
    }

    fn explain(&mut self) -> Result<SqlCommand> {
        self.advance();
        let mode = if self.eat_word("extended") {
            ExplainMode::Extended
        } else if self.eat_word("codegen") {
            ExplainMode::Codegen
        } else if self.eat_word("cost") {
            ExplainMode::Cost
        } else if self.eat_word("formatted") {
            ExplainMode::Formatted
        } else {
            ExplainMode::Simple
        };
        let statement = self.nested(Self::statement_here)?;
        Ok(SqlCommand::Explain {
            mode,
            statement: Box::new(statement),
        })
    }

    fn analyze_table(&mut self) -> Result<SqlCommand> {
        self.advance();
        self.expect_word("table")?;
        let name = self.multipart_identifier()?;
        self.rest_of_text();
        Ok(SqlCommand::AnalyzeTable { name })
    }

    fn alter(&mut self) -> Result<SqlCommand> {
        self.advance();
        let is_view = self.eat_word("view");
        if !is_view && !self.eat_word("table") {
            return Err(SparkError::not_supported(format!(
                "ALTER {}",
                self.rest_of_text()
            )));
        }
        let from = self.multipart_identifier()?;
        if self.eat_words(&["rename", "to"]) {
            return Ok(SqlCommand::RenameTable {
                from,
                to: self.multipart_identifier()?,
                is_view,
            });
        }
        Err(SparkError::not_supported(
            "ALTER TABLE and ALTER VIEW other than RENAME TO",
        ))
    }

    /// A key of options or properties: `a.b.c` or a string.
    pub(crate) fn option_key(&mut self) -> Result<String> {
        match self.peek() {
            // One token: the value may be a string as well.
            TokenKind::Text(key) => {
                let key = key.clone();
                self.advance();
                Ok(key)
            }
            _ => Ok(self.multipart_identifier()?.join(".")),
        }
    }

    /// `(key [=] value, ...)`
    pub(crate) fn properties(&mut self) -> Result<BTreeMap<String, String>> {
        self.expect_symbol("(")?;
        let mut all = BTreeMap::new();
        while !self.eat_symbol(")") {
            if !all.is_empty() {
                self.expect_symbol(",")?;
            }
            let key = self.option_key()?;
            self.eat_symbol("=");
            let value = self.option_value()?;
            all.insert(key, value);
        }
        Ok(all)
    }

    /// The same, as the messages have it.
    pub(crate) fn option_list(&mut self) -> Result<HashMap<String, String>> {
        Ok(self.properties()?.into_iter().collect())
    }

    fn option_value(&mut self) -> Result<String> {
        if matches!(self.peek(), TokenKind::Text(_)) {
            return self.string_literal();
        }
        let start = self.index;
        self.eat_symbol("-");
        match self.peek() {
            TokenKind::Number(_) | TokenKind::Word(_) => self.advance(),
            _ => return Err(self.unexpected()),
        }
        Ok(self.text_since(start).to_owned())
    }
}
