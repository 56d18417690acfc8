//! `spark.catalog`: questions about views, functions and databases.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use pyrite_functions::type_names::simple_name;
use pyrite_proto::connect;
use pyrite_proto::connect::catalog::CatType;
use pyrite_proto::error::SparkError;

use crate::analyzer::Analyzer;
use crate::catalog::GLOBAL_TEMP;
use crate::errors::{self, Result};
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::sqltext;

/// Answers questions; changes (`dropTempView`) are made by the session before.
pub(crate) fn answer(a: &Analyzer, catalog: &connect::Catalog) -> Result<ResolvedPlan> {
    let kind = catalog
        .cat_type
        .as_ref()
        .ok_or_else(|| errors::invalid_message("Catalog.cat_type"))?;
    match kind {
        CatType::CurrentDatabase(_) => one_text(a, a.catalog.current_database()),
        CatType::CurrentCatalog(_) => one_text(a, "spark_catalog"),
        CatType::ListDatabases(list) => {
            let names = filtered(a.catalog.databases(), list.pattern.as_deref());
            databases(a, &names)
        }
        CatType::GetDatabase(get) => {
            if !a.catalog.has_database(&get.db_name) {
                return Err(errors::schema_not_found(&get.db_name));
            }
            databases(a, &[get.db_name.to_lowercase()])
        }
        CatType::DatabaseExists(exists) => one_flag(a, a.catalog.has_database(&exists.db_name)),
        CatType::ListTables(list) => tables(a, list.db_name.as_deref(), list.pattern.as_deref()),
        CatType::GetTable(get) => {
            let parts = named(&get.table_name, get.db_name.as_deref())?;
            let row = table_row(a, &parts).ok_or_else(|| errors::table_not_found(&parts))?;
            table_rows(a, vec![row])
        }
        CatType::TableExists(exists) => {
            let parts = named(&exists.table_name, exists.db_name.as_deref())?;
            one_flag(a, table_row(a, &parts).is_some())
        }
        CatType::ListColumns(list) => {
            columns(a, &named(&list.table_name, list.db_name.as_deref())?)
        }
        CatType::ListFunctions(list) => {
            let names: Vec<String> = a
                .catalog
                .functions
                .values()
                .map(|f| f.name.clone())
                .collect();
            functions(a, &filtered(names, list.pattern.as_deref()))
        }
        CatType::GetFunction(get) => {
            let found = a.catalog.functions.get(&get.function_name.to_lowercase());
            match found {
                Some(function) => functions(a, std::slice::from_ref(&function.name)),
                None => Err(errors::unresolved_routine(&get.function_name)),
            }
        }
        CatType::FunctionExists(exists) => one_flag(
            a,
            a.catalog
                .functions
                .contains_key(&exists.function_name.to_lowercase()),
        ),
        CatType::ListCatalogs(_) => {
            let name: ArrayRef = Arc::new(StringArray::from(vec!["spark_catalog"]));
            let description: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
            rows(a, vec![("name", name), ("description", description)])
        }
        CatType::DropTempView(_) | CatType::DropGlobalTempView(_) | CatType::IsCached(_) => {
            // The session has dropped it, or looked, and left word whether there was one.
            one_flag(
                a,
                a.setting(crate::session::DROPPED)
                    .is_some_and(|v| v == "true"),
            )
        }
        CatType::SetCurrentDatabase(_)
        | CatType::SetCurrentCatalog(_)
        | CatType::CacheTable(_)
        | CatType::UncacheTable(_)
        | CatType::ClearCache(_)
        | CatType::RefreshTable(_)
        | CatType::RefreshByPath(_)
        | CatType::RecoverPartitions(_) => {
            let none: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
            rows(a, vec![("value", none)])
        }
        other => {
            let text = format!("{other:?}");
            let name = text.split('(').next().unwrap_or_default().to_owned();
            Err(SparkError::not_supported(format!(
                "catalog operation {name}"
            )))
        }
    }
}

fn named(name: &str, database: Option<&str>) -> Result<Vec<String>> {
    match database.filter(|d| !d.is_empty()) {
        Some(database) => Ok(vec![database.to_owned(), name.to_owned()]),
        None => sqltext::identifier(name),
    }
}

/// Names that a pattern with `*` and `|` lets through.
pub(crate) fn filtered(names: Vec<String>, pattern: Option<&str>) -> Vec<String> {
    let Some(pattern) = pattern.filter(|p| !p.is_empty()) else {
        return names;
    };
    let alternatives: Vec<regex::Regex> = pattern
        .split('|')
        .filter_map(|p| {
            let escaped = p
                .trim()
                .split('*')
                .map(regex::escape)
                .collect::<Vec<_>>()
                .join(".*");
            regex::RegexBuilder::new(&format!("^{escaped}$"))
                .case_insensitive(true)
                .build()
                .ok()
        })
        .collect();
    names
        .into_iter()
        .filter(|n| alternatives.iter().any(|p| p.is_match(n)))
        .collect()
}

/// A relation of a few rows.
pub(crate) fn rows(a: &Analyzer, columns: Vec<(&str, ArrayRef)>) -> Result<ResolvedPlan> {
    let fields: Vec<ResolvedField> = columns
        .iter()
        .map(|(name, c)| ResolvedField::new(name, c.data_type().clone(), true))
        .collect();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .enumerate()
            .map(|(i, (_, c))| (format!("c{i}"), c, true)),
    )
    .map_err(|e| SparkError::other(e.to_string()))?;
    // Answers are never the same.
    a.memory_table(fields, vec![batch], &uuid::Uuid::new_v4())
}

fn one_text(a: &Analyzer, value: &str) -> Result<ResolvedPlan> {
    rows(
        a,
        vec![(
            "value",
            Arc::new(StringArray::from(vec![value])) as ArrayRef,
        )],
    )
}

fn one_flag(a: &Analyzer, value: bool) -> Result<ResolvedPlan> {
    rows(
        a,
        vec![(
            "value",
            Arc::new(BooleanArray::from(vec![value])) as ArrayRef,
        )],
    )
}

fn texts<S: AsRef<str>>(values: impl Iterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn nulls(count: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec![None::<&str>; count]))
}

fn databases(a: &Analyzer, names: &[String]) -> Result<ResolvedPlan> {
    let locations = names.iter().map(|_| a.warehouse());
    rows(
        a,
        vec![
            ("name", texts(names.iter())),
            ("catalog", texts(names.iter().map(|_| "spark_catalog"))),
            (
                "description",
                texts(names.iter().map(|_| "default database")),
            ),
            ("locationUri", texts(locations)),
        ],
    )
}

/// Name, database (none for temporary views), type, temporary.
struct TableRow {
    name: String,
    database: Option<String>,
    kind: &'static str,
    temporary: bool,
}

fn table_row(a: &Analyzer, parts: &[String]) -> Option<TableRow> {
    if let Some(view) = a.catalog.view(parts) {
        let database = (parts.len() > 1).then(|| GLOBAL_TEMP.to_owned());
        return Some(TableRow {
            name: view.name.clone(),
            database,
            kind: "TEMPORARY",
            temporary: true,
        });
    }
    let table = a.catalog.tables.get(&a.catalog.table_key(parts))?;
    Some(TableRow {
        name: table.name.clone(),
        database: Some(table.database.clone()),
        kind: "MANAGED",
        temporary: false,
    })
}

fn tables(a: &Analyzer, database: Option<&str>, pattern: Option<&str>) -> Result<ResolvedPlan> {
    let wanted = database
        .unwrap_or(a.catalog.current_database())
        .to_lowercase();
    let mut found = vec![];
    for table in a.catalog.tables.values().filter(|t| t.database == wanted) {
        found.push(TableRow {
            name: table.name.clone(),
            database: Some(table.database.clone()),
            kind: "MANAGED",
            temporary: false,
        });
    }
    if wanted == GLOBAL_TEMP {
        found.extend(a.catalog.global_views.values().map(|v| TableRow {
            name: v.name.clone(),
            database: Some(GLOBAL_TEMP.into()),
            kind: "TEMPORARY",
            temporary: true,
        }));
    }
    found.extend(a.catalog.views.values().map(|v| TableRow {
        name: v.name.clone(),
        database: None,
        kind: "TEMPORARY",
        temporary: true,
    }));
    let keep = filtered(found.iter().map(|t| t.name.clone()).collect(), pattern);
    found.retain(|t| keep.contains(&t.name));
    table_rows(a, found)
}

fn table_rows(a: &Analyzer, found: Vec<TableRow>) -> Result<ResolvedPlan> {
    let catalogs: StringArray = found
        .iter()
        .map(|t| t.database.as_ref().map(|_| "spark_catalog"))
        .collect();
    let names: Vec<&str> = found.iter().filter_map(|t| t.database.as_deref()).collect();
    let lengths = found.iter().map(|t| usize::from(t.database.is_some()));
    let namespaces = ListArray::new(
        Arc::new(Field::new("item", DataType::Utf8, true)),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(StringArray::from(names)),
        None,
    );
    rows(
        a,
        vec![
            ("name", texts(found.iter().map(|t| t.name.as_str()))),
            ("catalog", Arc::new(catalogs)),
            ("namespace", Arc::new(namespaces)),
            ("description", nulls(found.len())),
            ("tableType", texts(found.iter().map(|t| t.kind))),
            (
                "isTemporary",
                Arc::new(BooleanArray::from_iter(
                    found.iter().map(|t| Some(t.temporary)),
                )),
            ),
        ],
    )
}

fn columns(a: &Analyzer, parts: &[String]) -> Result<ResolvedPlan> {
    let fields: Vec<ResolvedField> = match a.catalog.view(parts) {
        Some(view) => view.plan.visible().cloned().collect(),
        None => {
            let name = errors::quote(parts);
            let relation = table_relation(&name);
            a.relation(&relation, None)?.fields
        }
    };
    let flags =
        |value: bool| -> ArrayRef { Arc::new(BooleanArray::from(vec![value; fields.len()])) };
    let nullable: ArrayRef = Arc::new(BooleanArray::from_iter(
        fields.iter().map(|f| Some(f.nullable)),
    ));
    rows(
        a,
        vec![
            ("name", texts(fields.iter().map(|f| f.name.as_str()))),
            ("description", nulls(fields.len())),
            (
                "dataType",
                texts(fields.iter().map(|f| simple_name(&f.data_type))),
            ),
            ("nullable", nullable),
            ("isPartition", flags(false)),
            ("isBucket", flags(false)),
            ("isCluster", flags(false)),
        ],
    )
}

/// A relation that reads a table by name.
pub(crate) fn table_relation(name: &str) -> connect::Relation {
    use connect::read::{NamedTable, ReadType};
    connect::Relation {
        common: None,
        rel_type: Some(connect::relation::RelType::Read(connect::Read {
            is_streaming: false,
            read_type: Some(ReadType::NamedTable(NamedTable {
                unparsed_identifier: name.to_owned(),
                options: Default::default(),
            })),
        })),
    }
}

fn functions(a: &Analyzer, names: &[String]) -> Result<ResolvedPlan> {
    let namespaces = ListArray::new_null(
        Arc::new(Field::new("item", DataType::Utf8, true)),
        names.len(),
    );
    rows(
        a,
        vec![
            ("name", texts(names.iter())),
            ("catalog", nulls(names.len())),
            ("namespace", Arc::new(namespaces)),
            ("description", nulls(names.len())),
            (
                "className",
                texts(names.iter().map(|_| "org.apache.spark.sql.UDFRegistration")),
            ),
            (
                "isTemporary",
                Arc::new(BooleanArray::from(vec![true; names.len()])),
            ),
        ],
    )
}
