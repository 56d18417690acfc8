//! Commands: views, functions, writes, SQL that is no query.

use std::collections::BTreeMap;

use pyrite_proto::connect;
use pyrite_proto::connect::catalog::CatType;
use pyrite_proto::connect::command::CommandType;
use pyrite_proto::connect::common_inline_user_defined_function::Function;
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::error::SparkError;
use pyrite_python::EvalType;

use crate::catalog::{RegisteredFunction, View};
use crate::command::CommandResult;
use crate::errors::{self, Result};
use crate::resolved::ResolvedPlan;
use crate::session::PlanSession;

impl PlanSession {
    /// Carries out a command. Writes are returned for the driver to run as a job.
    ///
    /// # Errors
    /// Spark's analysis errors, and [`SparkError::not_supported`].
    pub async fn command(&self, command: &connect::Command) -> Result<CommandResult> {
        let kind = command
            .command_type
            .as_ref()
            .ok_or_else(|| errors::invalid_message("Command.command_type"))?;
        match kind {
            CommandType::CreateDataframeView(view) => {
                let input = view
                    .input
                    .as_ref()
                    .ok_or_else(|| errors::invalid_message("a view's input"))?;
                let plan = self.resolve(input).await?;
                self.create_view(&view.name, view.is_global, view.replace, plan)?;
                Ok(CommandResult::None)
            }
            CommandType::RegisterFunction(function) => {
                self.register_function(function)?;
                Ok(CommandResult::None)
            }
            CommandType::SqlCommand(sql) => self.sql_command(sql).await,
            CommandType::WriteOperation(write) => self.write(write).await,
            CommandType::CheckpointCommand(checkpoint) => {
                if !checkpoint.local {
                    return Err(SparkError::not_supported(
                        "DataFrame.checkpoint (localCheckpoint is there)",
                    ));
                }
                let relation = checkpoint
                    .relation
                    .as_ref()
                    .ok_or_else(|| errors::invalid_message("a checkpoint's relation"))?;
                let (id, plan) = self.checkpoint(relation, checkpoint.storage_level).await?;
                let fill = match checkpoint.eager {
                    true => Some(Box::new(crate::cache::counted(&plan)?)),
                    false => None,
                };
                Ok(CommandResult::Checkpoint { id, fill })
            }
            CommandType::RemoveCachedRemoteRelationCommand(remove) => {
                if let Some(relation) = &remove.relation {
                    self.forget_checkpoint(&relation.relation_id);
                }
                Ok(CommandResult::None)
            }
            CommandType::WriteOperationV2(_) => Err(SparkError::not_supported("DataFrame.writeTo")),
            CommandType::RegisterTableFunction(_) => {
                Err(SparkError::not_supported("Python table functions"))
            }
            CommandType::RegisterDataSource(_) => {
                Err(SparkError::not_supported("Python data sources"))
            }
            CommandType::WriteStreamOperationStart(_)
            | CommandType::StreamingQueryCommand(_)
            | CommandType::StreamingQueryManagerCommand(_)
            | CommandType::StreamingQueryListenerBusCommand(_) => {
                Err(SparkError::not_supported("structured streaming"))
            }
            other => {
                let text = format!("{other:?}");
                let name = text.split('(').next().unwrap_or_default().to_owned();
                Err(SparkError::not_supported(format!("command {name}")))
            }
        }
    }

    /// Creates a temporary view.
    pub(crate) fn create_view(
        &self,
        name: &str,
        global: bool,
        replace: bool,
        plan: ResolvedPlan,
    ) -> Result<()> {
        let parts = crate::sqltext::identifier(name)?;
        let [name] = parts.as_slice() else {
            return Err(errors::with_condition(
                "TEMP_VIEW_NAME_TOO_MANY_NAME_PARTS",
                "428EK",
                format!(
                    "CREATE TEMPORARY VIEW or the corresponding Dataset APIs only accept single-part view names, but got: {}.",
                    errors::quote(&parts)
                ),
            ));
        };
        let key = name.to_lowercase();
        let plan = ResolvedPlan {
            finish: None,
            ..plan
        };
        let view = View {
            name: name.clone(),
            plan,
        };
        let existed = self.with_views(global, |views| {
            if !replace && views.contains_key(&key) {
                return Err(errors::view_exists(name));
            }
            Ok(views.insert(key.clone(), view.clone()).is_some())
        });
        let replaced = existed?;
        if replaced {
            self.view_replaced(&key, global, &view.plan);
        }
        Ok(())
    }

    fn register_function(&self, function: &connect::CommonInlineUserDefinedFunction) -> Result<()> {
        let Some(Function::PythonUdf(udf)) = &function.function else {
            return Err(SparkError::not_supported(
                "functions written in Java or Scala",
            ));
        };
        let registered = RegisteredFunction {
            name: function.function_name.clone(),
            udf: udf.clone(),
            deterministic: function.deterministic,
            eval_type: EvalType::try_from(udf.eval_type)?,
        };
        self.catalog
            .write()
            .functions
            .insert(function.function_name.to_lowercase(), registered);
        Ok(())
    }

    /// Makes the changes that come in the form of relations (`spark.catalog.dropTempView`).
    /// Questions about what is cached are answered here, too.
    pub(crate) async fn apply_catalog_change(
        &self,
        relation: &connect::Relation,
    ) -> Result<Option<bool>> {
        let Some(RelType::Catalog(catalog)) = &relation.rel_type else {
            return Ok(None);
        };
        let Some(kind) = &catalog.cat_type else {
            return Ok(None);
        };
        // Boxed, for naming a table analyses a relation in turn.
        Ok(match kind {
            CatType::IsCached(table) => {
                Some(Box::pin(self.is_table_cached(&table.table_name)).await?)
            }
            CatType::CacheTable(table) => {
                let level = match table.storage_level {
                    Some(level) => level,
                    None => self.default_storage_level()?,
                };
                Box::pin(self.cache_table(&table.table_name, level)).await?;
                None
            }
            CatType::UncacheTable(table) => {
                Box::pin(self.uncache_table(&table.table_name)).await?;
                None
            }
            CatType::ClearCache(_) => {
                self.clear_cache().await;
                None
            }
            CatType::RefreshTable(table) => {
                Box::pin(self.refresh_table(&table.table_name)).await?;
                None
            }
            CatType::RefreshByPath(refresh) => {
                let path = crate::read::local_path(&refresh.path)?;
                self.cache.files_changed(&path).await;
                None
            }
            CatType::DropTempView(view) => Some(self.drop_view(&view.view_name, false)),
            CatType::DropGlobalTempView(view) => Some(self.drop_view(&view.view_name, true)),
            CatType::SetCurrentDatabase(set) => {
                let mut catalog = self.catalog.write();
                if catalog.has_database(&set.db_name) {
                    catalog.database = Some(set.db_name.to_lowercase());
                }
                None
            }
            _ => None,
        })
    }

    /// Does something to this session's temporary views, or to the global ones.
    fn with_views<T>(
        &self,
        global: bool,
        change: impl FnOnce(&mut BTreeMap<String, View>) -> T,
    ) -> T {
        match global {
            true => change(&mut self.shared.global_views.write()),
            false => change(&mut self.catalog.write().views),
        }
    }

    /// Drops a temporary view; true when there was one.
    pub(crate) fn drop_view(&self, name: &str, global: bool) -> bool {
        let key = name.trim_matches('`').to_lowercase();
        let dropped = self.with_views(global, |views| views.remove(&key));
        if let Some(view) = &dropped {
            self.uncache_view(&view.plan);
        }
        dropped.is_some()
    }

    async fn sql_command(&self, command: &connect::SqlCommand) -> Result<CommandResult> {
        #[expect(deprecated, reason = "clients before 4.0 send the text here")]
        let old = connect::Sql {
            query: command.sql.clone(),
            args: command.args.clone(),
            pos_args: command.pos_args.clone(),
            named_arguments: command.named_arguments.clone(),
            pos_arguments: command.pos_arguments.clone(),
        };
        let (sql, wrapped) = match &command.input {
            Some(relation) => match sql_of(relation) {
                Some(sql) => (sql.clone(), Some(relation)),
                None => return Ok(CommandResult::Sql(Box::new(relation.clone()))),
            },
            None => (old, None),
        };
        let arguments = crate::relations::arguments(&sql);
        match pyrite_sql::parse_with_arguments(&sql.query, &arguments)? {
            pyrite_sql::Statement::Query(relation) => {
                // Queries are analysed at once, so that their errors show here, and run later.
                let relation = match wrapped {
                    Some(wrapped) => wrapped.clone(),
                    None => relation,
                };
                self.resolve(&relation).await?;
                Ok(CommandResult::Sql(Box::new(relation)))
            }
            pyrite_sql::Statement::Command(command) => self.sql_statement(command).await,
        }
    }
}

/// The SQL text inside a relation; DataFrames passed as arguments are around it.
fn sql_of(relation: &connect::Relation) -> Option<&connect::Sql> {
    match &relation.rel_type {
        Some(RelType::Sql(sql)) => Some(sql),
        Some(RelType::WithRelations(with)) => with.root.as_deref().and_then(sql_of),
        _ => None,
    }
}
