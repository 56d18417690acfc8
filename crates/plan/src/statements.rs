//! SQL statements that are no queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use pyrite_functions::type_names::simple_name;
use pyrite_proto::connect;
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::error::SparkError;
use pyrite_sql::SqlCommand;

use crate::catalog::GLOBAL_TEMP;
use crate::catalog_relation::{filtered, table_relation};
use crate::command::CommandResult;
use crate::errors::{self, Result};
use crate::resolved::ResolvedPlan;
use crate::session::PlanSession;

impl PlanSession {
    /// Carries out a statement and returns its rows.
    pub(crate) async fn sql_statement(&self, statement: SqlCommand) -> Result<CommandResult> {
        match statement {
            SqlCommand::CreateTempView {
                name,
                global,
                replace,
                columns,
                query,
            } => {
                let query = renamed(query, columns);
                let plan = self.resolve(&query).await?;
                self.create_view(&errors::quote(&[name]), global, replace, plan)?;
                nothing()
            }
            SqlCommand::DropView { name, if_exists } => {
                let (view, global) = match name.as_slice() {
                    [database, view] if database.eq_ignore_ascii_case(GLOBAL_TEMP) => (view, true),
                    [.., view] => (view, false),
                    [] => return Err(errors::invalid_message("a view's name")),
                };
                if !self.drop_view(view, global) && !if_exists {
                    return Err(errors::table_not_found(&name));
                }
                nothing()
            }
            SqlCommand::SetConf { key, value } => {
                self.set_conf(&key, &value)?;
                rows(vec![("key", texts([key])), ("value", texts([value]))])
            }
            SqlCommand::ShowConf { key, .. } => self.show_conf(key),
            SqlCommand::ResetConf { key } => {
                match key {
                    Some(key) => self.unset_conf(&key)?,
                    None => self.reset_conf(),
                }
                nothing()
            }
            SqlCommand::UseDatabase { name } => {
                let database = name.last().cloned().unwrap_or_default();
                let mut catalog = self.catalog.write();
                if !catalog.has_database(&database) {
                    return Err(errors::schema_not_found(&database));
                }
                catalog.database = Some(database.to_lowercase());
                nothing()
            }
            SqlCommand::SetCatalog { name } if name == "spark_catalog" => nothing(),
            SqlCommand::CreateDatabase {
                name,
                if_not_exists,
                ..
            } => self.create_database(&name, if_not_exists),
            SqlCommand::DropDatabase {
                name,
                if_exists,
                cascade,
            } => self.drop_database(&name, if_exists, cascade),
            SqlCommand::ShowTables {
                database,
                pattern,
                extended: false,
            } => self.show_tables(database, pattern.as_deref()),
            SqlCommand::ShowViews { pattern, .. } => self.show_views(pattern.as_deref()),
            SqlCommand::ShowDatabases { pattern } => {
                let names = filtered(self.catalog.read().databases(), pattern.as_deref());
                rows(vec![("namespace", texts(names))])
            }
            SqlCommand::ShowCatalogs { pattern } => {
                let names = filtered(vec!["spark_catalog".into()], pattern.as_deref());
                rows(vec![("catalog", texts(names))])
            }
            SqlCommand::ShowCurrentNamespace => {
                let database = self.catalog.read().current_database().to_owned();
                rows(vec![
                    ("catalog", texts(["spark_catalog"])),
                    ("namespace", texts([database])),
                ])
            }
            SqlCommand::ShowColumns { table } => {
                let plan = self
                    .resolve(&table_relation(&errors::quote(&table)))
                    .await?;
                rows(vec![("col_name", texts(plan.names()))])
            }
            SqlCommand::DescribeTable {
                name, column: None, ..
            } => {
                let plan = self.resolve(&table_relation(&errors::quote(&name))).await?;
                describe(&plan)
            }
            SqlCommand::DescribeQuery { query } => describe(&self.resolve(&query).await?),
            SqlCommand::ShowFunctions { pattern, .. } => {
                let names = self
                    .catalog
                    .read()
                    .functions
                    .values()
                    .map(|f| f.name.clone())
                    .collect();
                rows(vec![(
                    "function",
                    texts(filtered(names, pattern.as_deref())),
                )])
            }
            SqlCommand::Explain { mode, statement } => {
                self.explain_statement(mode, *statement).await
            }
            SqlCommand::CacheTable {
                name,
                lazy,
                options,
                query,
            } => self.cache_statement(&name, lazy, &options, query).await,
            SqlCommand::UncacheTable { name, if_exists } => {
                match self.uncache_table(&errors::quote(&name)).await {
                    Err(error) if !if_exists || error.condition != "TABLE_OR_VIEW_NOT_FOUND" => {
                        Err(error)
                    }
                    _ => nothing(),
                }
            }
            SqlCommand::ClearCache => {
                self.clear_cache().await;
                nothing()
            }
            SqlCommand::RefreshTable { name } => {
                self.refresh_table(&errors::quote(&name)).await?;
                nothing()
            }
            SqlCommand::AnalyzeTable { .. } => nothing(),
            SqlCommand::CreateTable(create) => self.create_table(*create).await,
            SqlCommand::DropTable {
                name, if_exists, ..
            } => self.drop_table(&name, if_exists),
            SqlCommand::Insert(insert) => self.insert(*insert).await,
            SqlCommand::RenameTable {
                from,
                to,
                is_view: true,
            } => self.rename_view(&from, &to),
            other => {
                let text = format!("{other:?}");
                let name = text
                    .split([' ', '(', '{'])
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                Err(SparkError::not_supported(format!("SQL statement {name}")))
            }
        }
    }

    /// `CACHE [LAZY] TABLE name [OPTIONS (...)] [AS query]`.
    async fn cache_statement(
        &self,
        name: &[String],
        lazy: bool,
        options: &BTreeMap<String, String>,
        query: Option<connect::Relation>,
    ) -> Result<CommandResult> {
        let level = options
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case("storageLevel"));
        let level = match level {
            Some((_, name)) => crate::cache::named_level(name)?,
            None => self.default_storage_level()?,
        };
        let name = errors::quote(name);
        if let Some(query) = query {
            let plan = self.resolve(&query).await?;
            self.create_view(&name, false, false, plan)?;
        }
        let plan = self.cache_table(&name, level).await?;
        if lazy {
            return nothing();
        }
        Ok(CommandResult::Fill {
            plan: Box::new(crate::cache::counted(&plan)?),
            answer: Box::new(empty_relation()),
        })
    }

    fn show_conf(&self, key: Option<String>) -> Result<CommandResult> {
        let pairs: Vec<(String, String)> = match key {
            Some(key) => {
                let value = self.get_conf(&key).unwrap_or_else(|| "<undefined>".into());
                vec![(key, value)]
            }
            None => self
                .conf()
                .into_iter()
                .filter(|(k, _)| k.starts_with("spark.sql."))
                .collect(),
        };
        let (keys, values): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
        rows(vec![("key", texts(keys)), ("value", texts(values))])
    }

    fn create_database(&self, name: &[String], if_not_exists: bool) -> Result<CommandResult> {
        let database = name.last().cloned().unwrap_or_default().to_lowercase();
        let mut catalog = self.catalog.write();
        if catalog.has_database(&database) && !if_not_exists {
            let quoted = errors::quote(&["spark_catalog", &database]);
            return Err(errors::with_condition(
                "SCHEMA_ALREADY_EXISTS",
                "42P06",
                format!("Cannot create schema {quoted} because it already exists.\nChoose a different name, drop the existing schema, or add the IF NOT EXISTS clause to tolerate pre-existing schema."),
            )
            .with("schemaName", quoted));
        }
        catalog.databases.insert(database);
        nothing()
    }

    fn drop_database(
        &self,
        name: &[String],
        if_exists: bool,
        cascade: bool,
    ) -> Result<CommandResult> {
        let database = name.last().cloned().unwrap_or_default().to_lowercase();
        let mut catalog = self.catalog.write();
        if !catalog.has_database(&database) {
            return if if_exists {
                nothing()
            } else {
                Err(errors::schema_not_found(&database))
            };
        }
        let full = catalog.tables.values().any(|t| t.database == database);
        if full && !cascade {
            let quoted = errors::quote(&["spark_catalog", &database]);
            return Err(errors::with_condition(
                "SCHEMA_NOT_EMPTY",
                "2BP01",
                format!(
                    "Cannot drop a schema {quoted} because it contains objects.\nUse DROP SCHEMA ... CASCADE to drop the schema and all its objects."
                ),
            ));
        }
        if full {
            return Err(SparkError::not_supported("DROP DATABASE with tables in it"));
        }
        catalog.databases.remove(&database);
        nothing()
    }

    fn show_tables(
        &self,
        database: Option<Vec<String>>,
        pattern: Option<&str>,
    ) -> Result<CommandResult> {
        let catalog = self.catalog.read();
        let wanted = database.and_then(|d| d.last().cloned());
        let wanted = wanted
            .unwrap_or_else(|| catalog.current_database().to_owned())
            .to_lowercase();
        if wanted != GLOBAL_TEMP && !catalog.has_database(&wanted) {
            return Err(errors::schema_not_found(&wanted));
        }
        let mut found: Vec<(String, String, bool)> = catalog
            .tables
            .values()
            .filter(|t| t.database == wanted)
            .map(|t| (wanted.clone(), t.name.clone(), false))
            .collect();
        if wanted == GLOBAL_TEMP {
            found.extend(
                self.shared
                    .global_views
                    .read()
                    .values()
                    .map(|v| (wanted.clone(), v.name.clone(), true)),
            );
        }
        found.extend(
            catalog
                .views
                .values()
                .map(|v| (String::new(), v.name.clone(), true)),
        );
        let keep = filtered(found.iter().map(|t| t.1.clone()).collect(), pattern);
        found.retain(|t| keep.contains(&t.1));
        let temporary: ArrayRef =
            Arc::new(BooleanArray::from_iter(found.iter().map(|t| Some(t.2))));
        rows(vec![
            ("namespace", texts(found.iter().map(|t| t.0.as_str()))),
            ("tableName", texts(found.iter().map(|t| t.1.as_str()))),
            ("isTemporary", temporary),
        ])
    }

    fn show_views(&self, pattern: Option<&str>) -> Result<CommandResult> {
        let catalog = self.catalog.read();
        let names = catalog.views.values().map(|v| v.name.clone()).collect();
        let names = filtered(names, pattern);
        let temporary: ArrayRef = Arc::new(BooleanArray::from(vec![true; names.len()]));
        rows(vec![
            ("namespace", texts(names.iter().map(|_| ""))),
            ("viewName", texts(names.iter())),
            ("isTemporary", temporary),
        ])
    }

    fn rename_view(&self, from: &[String], to: &[String]) -> Result<CommandResult> {
        let (Some(old), Some(new)) = (from.last(), to.last()) else {
            return Err(errors::invalid_message("a view's name"));
        };
        let mut catalog = self.catalog.write();
        if catalog.views.contains_key(&new.to_lowercase()) {
            return Err(errors::view_exists(new));
        }
        let mut view = catalog
            .views
            .remove(&old.to_lowercase())
            .ok_or_else(|| errors::table_not_found(from))?;
        view.name.clone_from(new);
        catalog.views.insert(new.to_lowercase(), view);
        nothing()
    }
}

/// A query with other column names.
fn renamed(query: connect::Relation, columns: Vec<String>) -> connect::Relation {
    if columns.is_empty() {
        return query;
    }
    connect::Relation {
        common: None,
        rel_type: Some(RelType::ToDf(Box::new(connect::ToDf {
            input: Some(Box::new(query)),
            column_names: columns,
        }))),
    }
}

fn describe(plan: &ResolvedPlan) -> Result<CommandResult> {
    let comments = plan.visible().map(|f| {
        let metadata: Option<serde_json::Value> = f
            .metadata
            .as_deref()
            .and_then(|m| serde_json::from_str(m).ok());
        metadata.and_then(|m| m["comment"].as_str().map(str::to_owned))
    });
    let comments: ArrayRef = Arc::new(StringArray::from_iter(comments));
    rows(vec![
        ("col_name", texts(plan.names())),
        (
            "data_type",
            texts(plan.visible().map(|f| simple_name(&f.data_type))),
        ),
        ("comment", comments),
    ])
}

fn texts<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// The answer of a statement without rows.
pub(crate) fn nothing() -> Result<CommandResult> {
    Ok(CommandResult::Sql(Box::new(empty_relation())))
}

/// A relation without rows and columns.
pub(crate) fn empty_relation() -> connect::Relation {
    let schema = r#"{"type":"struct","fields":[]}"#.to_owned();
    connect::Relation {
        common: None,
        rel_type: Some(RelType::LocalRelation(connect::LocalRelation {
            data: None,
            schema: Some(schema),
        })),
    }
}

/// The answer of a statement with rows.
pub(crate) fn rows(columns: Vec<(&str, ArrayRef)>) -> Result<CommandResult> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .map_err(|e| SparkError::other(e.to_string()))?;
    let write = |batch: &RecordBatch| -> std::result::Result<Vec<u8>, arrow::error::ArrowError> {
        let mut writer = StreamWriter::try_new(vec![], &batch.schema())?;
        writer.write(batch)?;
        writer.into_inner()
    };
    let data = write(&batch).map_err(|e| SparkError::other(e.to_string()))?;
    let relation = connect::Relation {
        common: None,
        rel_type: Some(RelType::LocalRelation(connect::LocalRelation {
            data: Some(data.into()),
            schema: None,
        })),
    };
    Ok(CommandResult::Sql(Box::new(relation)))
}
