//! Tables in the warehouse directory: `saveAsTable`, `CREATE TABLE`, `INSERT`, `DROP TABLE`.
//!
//! A table is a directory of files; what it is called is known to its session only.

use pyrite_proto::connect;
use pyrite_proto::error::SparkError;
use pyrite_sql::{CreateTable, Insert, InsertTarget};

use super::{Mode, WriteRequest};
use crate::catalog::Table;
use crate::command::CommandResult;
use crate::errors::{self, Result};
use crate::leaves::FileScan;
use crate::read::local_path;
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::session::PlanSession;
use crate::statements::nothing;
use crate::{json_schema, types};

impl PlanSession {
    fn table_of(&self, parts: &[String]) -> Option<Table> {
        let catalog = self.catalog.read();
        catalog.tables.get(&catalog.table_key(parts)).cloned()
    }

    fn new_table(
        &self,
        parts: &[String],
        mut scan: FileScan,
        location: Option<String>,
    ) -> Result<Table> {
        let (Some(name), database) = (parts.last(), parts.iter().rev().nth(1)) else {
            return Err(errors::invalid_message("a table's name"));
        };
        let catalog = self.catalog.read();
        let database = database.map_or(catalog.current_database().to_owned(), |d| d.to_lowercase());
        if !catalog.has_database(&database) {
            return Err(errors::schema_not_found(&database));
        }
        let path = match location {
            Some(location) => local_path(&location)?,
            None => {
                let warehouse = self.get_conf("spark.sql.warehouse.dir");
                let mut path = local_path(warehouse.as_deref().unwrap_or("spark-warehouse"))?;
                if database != "default" {
                    path.push(format!("{database}.db"));
                }
                path.join(name.to_lowercase())
            }
        };
        scan.paths = vec![path.to_string_lossy().into_owned()];
        Ok(Table {
            name: name.to_lowercase(),
            database,
            scan,
            partition_by: vec![],
        })
    }

    /// `saveAsTable`
    pub(super) async fn save_table(
        &self,
        parts: &[String],
        plan: ResolvedPlan,
        scan: FileScan,
        partition_by: Vec<String>,
        mode: Mode,
        location: Option<String>,
    ) -> Result<CommandResult> {
        let known = self.table_of(parts);
        match (&known, mode) {
            (Some(table), Mode::Append) => {
                let plan = by_name(plan, table)?;
                return self.insert_rows(parts, plan, &[], false).await;
            }
            (Some(_), Mode::ErrorIfExists) => return Err(table_exists(parts)),
            (Some(_), Mode::Ignore) => return Ok(CommandResult::None),
            _ => {}
        }
        let mut table = self.new_table(parts, scan, location)?;
        let schema = types::struct_of(plan.visible())?;
        table.scan.schema = Some(json_schema::to_json(&schema)?.to_string());
        table.partition_by.clone_from(&partition_by);
        let request = WriteRequest {
            path: local_path(&table.scan.paths[0])?,
            format: table.scan.format.clone(),
            options: table.scan.options.clone(),
            partition_by,
            mode: Mode::Overwrite,
        };
        self.then_register(self.start_write(plan, request)?, table)
    }

    /// The table is known once its files are there.
    fn then_register(&self, result: CommandResult, table: Table) -> Result<CommandResult> {
        let CommandResult::Write(mut write) = result else {
            return Ok(result);
        };
        write.register = Some(Box::new((self.catalog.clone(), table)));
        Ok(CommandResult::Write(write))
    }

    pub(crate) async fn create_table(&self, create: CreateTable) -> Result<CommandResult> {
        if self.table_of(&create.name).is_some() && !create.replace {
            return if create.if_not_exists {
                nothing()
            } else {
                Err(table_exists(&create.name))
            };
        }
        let default = self
            .get_conf("spark.sql.sources.default")
            .unwrap_or_else(|| "parquet".into());
        let options = create
            .options
            .iter()
            .map(|(k, v)| (k.to_lowercase(), v.clone()))
            .collect();
        let scan = FileScan {
            format: create.provider.clone().unwrap_or(default),
            paths: vec![],
            options,
            schema: None,
        };
        if let Some(query) = &create.query {
            let plan = self.resolve(query).await?;
            let partitions = create.partitioned_by.clone();
            let result = self
                .save_table(
                    &create.name,
                    plan,
                    scan,
                    partitions,
                    Mode::Overwrite,
                    create.location,
                )
                .await?;
            return Ok(answered(result));
        }
        let mut table = self.new_table(&create.name, scan, create.location)?;
        table.partition_by.clone_from(&create.partitioned_by);
        if let Some(schema) = &create.schema {
            table.scan.schema = Some(json_schema::to_json(schema)?.to_string());
        }
        let path = local_path(&table.scan.paths[0])?;
        std::fs::create_dir_all(&path)
            .map_err(|e| SparkError::other(format!("creating `{}`: {e}", path.display())))?;
        let mut catalog = self.catalog.write();
        let key = catalog.table_key(&[table.database.clone(), table.name.clone()]);
        catalog.tables.insert(key, table);
        nothing()
    }

    pub(crate) fn drop_table(&self, name: &[String], if_exists: bool) -> Result<CommandResult> {
        let mut catalog = self.catalog.write();
        let key = catalog.table_key(name);
        let Some(table) = catalog.tables.remove(&key) else {
            return if if_exists {
                nothing()
            } else {
                Err(errors::table_not_found(name))
            };
        };
        drop(catalog);
        for path in &table.scan.paths {
            let path = local_path(path)?;
            self.cache.files_removed(&path);
            if path.exists() {
                std::fs::remove_dir_all(&path).map_err(|e| {
                    SparkError::other(format!("removing `{}`: {e}", path.display()))
                })?;
            }
        }
        nothing()
    }

    pub(crate) async fn insert(&self, insert: Insert) -> Result<CommandResult> {
        if !insert.partition.is_empty() {
            return Err(SparkError::not_supported("INSERT into a named partition"));
        }
        let plan = self.resolve(&insert.query).await?;
        match &insert.target {
            InsertTarget::Table(name) => {
                let result = self
                    .insert_rows(name, plan, &insert.columns, insert.overwrite)
                    .await?;
                Ok(answered(result))
            }
            InsertTarget::Directory {
                path,
                provider,
                options,
            } => {
                let request = WriteRequest {
                    path: local_path(path)?,
                    format: provider.to_lowercase(),
                    options: options
                        .iter()
                        .map(|(k, v)| (k.to_lowercase(), v.clone()))
                        .collect(),
                    partition_by: vec![],
                    mode: Mode::Overwrite,
                };
                Ok(answered(self.start_write(plan, request)?))
            }
        }
    }

    /// Adds rows to a table: by place, or to the named columns.
    pub(super) async fn insert_rows(
        &self,
        parts: &[String],
        plan: ResolvedPlan,
        columns: &[String],
        overwrite: bool,
    ) -> Result<CommandResult> {
        let table = self
            .table_of(parts)
            .ok_or_else(|| errors::table_not_found(parts))?;
        let wanted = table_fields(&table)?;
        let plan = self
            .analysed(None, |analyzer| {
                analyzer.for_table(plan.clone(), &wanted, columns, parts)
            })
            .await?;
        let request = WriteRequest {
            path: local_path(&table.scan.paths[0])?,
            format: table.scan.format.clone(),
            options: table.scan.options.clone(),
            partition_by: table.partition_by.clone(),
            mode: if overwrite {
                Mode::Overwrite
            } else {
                Mode::Append
            },
        };
        self.start_write(plan, request)
    }
}

/// A write that came as SQL answers with an empty relation.
fn answered(result: CommandResult) -> CommandResult {
    let empty = || Box::new(crate::statements::empty_relation());
    match result {
        CommandResult::Write(mut write) => {
            write.sql_result = Some(empty());
            CommandResult::Write(write)
        }
        CommandResult::None => CommandResult::Sql(empty()),
        other => other,
    }
}

fn table_exists(parts: &[String]) -> SparkError {
    let name = errors::quote(parts);
    errors::with_condition(
        "TABLE_OR_VIEW_ALREADY_EXISTS",
        "42P07",
        format!("Cannot create table or view {name} because it already exists.\nChoose a different name, drop or replace the existing object, or add the IF NOT EXISTS clause to tolerate pre-existing objects."),
    )
    .with("relationName", name)
}

fn table_fields(table: &Table) -> Result<Vec<ResolvedField>> {
    let Some(json) = &table.scan.schema else {
        return Err(SparkError::not_supported(
            "INSERT into a table whose schema is only in its files",
        ));
    };
    match json_schema::parse(json)?.kind {
        Some(connect::data_type::Kind::Struct(structure)) => Ok(types::struct_fields(&structure)?
            .iter()
            .map(|f| ResolvedField::new(f.name(), f.data_type().clone(), f.is_nullable()))
            .collect()),
        _ => Err(errors::invalid_message("a struct as a table's schema")),
    }
}

/// `saveAsTable` in append mode matches columns by name.
fn by_name(plan: ResolvedPlan, table: &Table) -> Result<ResolvedPlan> {
    let mut fields = vec![];
    for wanted in table_fields(table)? {
        let found = plan
            .fields
            .iter()
            .find(|f| f.name.eq_ignore_ascii_case(&wanted.name));
        fields.push(
            found
                .cloned()
                .ok_or_else(|| errors::unresolved_column(&[&wanted.name], &plan.names()))?,
        );
    }
    Ok(ResolvedPlan { fields, ..plan })
}
