//! A session's temporary views and registered functions.

use std::collections::{BTreeMap, BTreeSet};

use pyrite_proto::connect;
use pyrite_python::EvalType;

use crate::leaves::FileScan;
use crate::resolved::ResolvedPlan;

/// The database in which global temporary views live.
pub(crate) const GLOBAL_TEMP: &str = "global_temp";

/// A Python function registered by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RegisteredFunction {
    pub name: String,
    pub udf: connect::PythonUdf,
    pub deterministic: bool,
    pub eval_type: EvalType,
}

/// What names mean in a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    /// Temporary views by name in lower case, with the name as written.
    pub views: BTreeMap<String, View>,
    /// Global temporary views, as they were when an analysis began.
    pub global_views: BTreeMap<String, View>,
    /// Functions by name in lower case.
    pub functions: BTreeMap<String, RegisteredFunction>,
    /// The current database.
    pub database: Option<String>,
    /// Tables that this session wrote, by `database.name` in lower case.
    pub tables: BTreeMap<String, Table>,
    /// Databases besides `default`.
    pub databases: BTreeSet<String>,
}

/// A table in the warehouse directory.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub name: String,
    pub database: String,
    pub scan: FileScan,
    /// Columns that are directories.
    pub partition_by: Vec<String>,
}

/// A temporary view: analysed when it was created, as in Spark.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub name: String,
    pub plan: ResolvedPlan,
}

impl Catalog {
    /// The current database's name.
    pub fn current_database(&self) -> &str {
        self.database.as_deref().unwrap_or("default")
    }

    /// The databases there are.
    pub fn databases(&self) -> Vec<String> {
        let mut all: BTreeSet<String> = self.databases.clone();
        all.insert("default".into());
        all.into_iter().collect()
    }

    /// Claims that the database exists; global temporary views have one of their own.
    pub fn has_database(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        name == "default" || self.databases.contains(&name)
    }

    /// The key of a table by the parts of its name.
    pub fn table_key(&self, parts: &[String]) -> String {
        match parts {
            [.., database, name] => format!("{}.{}", database.to_lowercase(), name.to_lowercase()),
            [name] => format!("{}.{}", self.current_database(), name.to_lowercase()),
            [] => String::new(),
        }
    }

    /// Finds a view by the parts of its name.
    pub fn view(&self, parts: &[String]) -> Option<&View> {
        match parts {
            [name] => self.views.get(&name.to_lowercase()),
            [database, name] if database.eq_ignore_ascii_case(GLOBAL_TEMP) => {
                self.global_views.get(&name.to_lowercase())
            }
            _ => None,
        }
    }
}
