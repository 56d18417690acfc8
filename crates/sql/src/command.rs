//! Statements that Connect has no message for, as data.

use std::collections::BTreeMap;

use spark_connect_proto::{DataType, Expression, Relation};

/// A name of one to three parts: `table`, `schema.table`, `catalog.schema.table`.
pub type Name = Vec<String>;

/// What one SQL text asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// A query.
    Query(Relation),
    /// Anything else.
    Command(SqlCommand),
}

/// A statement that is not a query.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlCommand {
    /// `CREATE [OR REPLACE] [GLOBAL] TEMPORARY VIEW name [(columns)] AS query`, or `... USING source`, where
    /// the query is a `Read.DataSource`.
    CreateTempView {
        /// Name of the view, without a schema.
        name: String,
        /// Whether all sessions see it.
        global: bool,
        /// Whether a view of that name may exist.
        replace: bool,
        /// New names of the query's columns; empty to keep them.
        columns: Vec<String>,
        /// What the view shows.
        query: Relation,
    },
    /// `CREATE VIEW`: one that is kept in the catalog.
    CreateView {
        /// Name of the view.
        name: Name,
        /// Whether nothing happens when it exists.
        if_not_exists: bool,
        /// Whether a view of that name may exist.
        replace: bool,
        /// New names of the query's columns; empty to keep them.
        columns: Vec<String>,
        /// Comment of the view.
        comment: Option<String>,
        /// What the view shows.
        query: Relation,
    },
    /// `DROP VIEW`.
    DropView {
        /// Name of the view.
        name: Name,
        /// Whether a missing view is fine.
        if_exists: bool,
    },
    /// `CREATE TABLE`, with `AS query` or without.
    CreateTable(Box<CreateTable>),
    /// `DROP TABLE`.
    DropTable {
        /// Name of the table.
        name: Name,
        /// Whether a missing table is fine.
        if_exists: bool,
        /// Whether the data skips the trash.
        purge: bool,
    },
    /// `INSERT INTO` or `INSERT OVERWRITE`.
    Insert(Box<Insert>),
    /// `TRUNCATE TABLE`.
    Truncate {
        /// Name of the table.
        name: Name,
        /// Only this partition, when not empty.
        partition: Vec<(String, Option<Expression>)>,
    },
    /// `CREATE DATABASE|SCHEMA|NAMESPACE`.
    CreateDatabase {
        /// Name of the schema.
        name: Name,
        /// Whether an existing one is fine.
        if_not_exists: bool,
        /// Its comment.
        comment: Option<String>,
        /// Where its tables lie.
        location: Option<String>,
        /// Its properties.
        properties: BTreeMap<String, String>,
    },
    /// `DROP DATABASE|SCHEMA|NAMESPACE`.
    DropDatabase {
        /// Name of the schema.
        name: Name,
        /// Whether a missing one is fine.
        if_exists: bool,
        /// Whether its tables go with it.
        cascade: bool,
    },
    /// `USE`.
    UseDatabase {
        /// Name of the schema.
        name: Name,
    },
    /// `SET CATALOG`.
    SetCatalog {
        /// Name of the catalog.
        name: String,
    },
    /// `SET key = value`.
    SetConf {
        /// The setting.
        key: String,
        /// Its value, as written.
        value: String,
    },
    /// `SET`, `SET -v`, `SET key`.
    ShowConf {
        /// Only this setting.
        key: Option<String>,
        /// Whether descriptions are wanted.
        verbose: bool,
    },
    /// `RESET [key]`.
    ResetConf {
        /// Only this setting.
        key: Option<String>,
    },
    /// `SHOW TABLES`.
    ShowTables {
        /// Schema; the current one when absent.
        database: Option<Name>,
        /// Pattern of `LIKE`, with `*` and `|`.
        pattern: Option<String>,
        /// Whether `SHOW TABLE EXTENDED`.
        extended: bool,
    },
    /// `SHOW VIEWS`.
    ShowViews {
        /// Schema; the current one when absent.
        database: Option<Name>,
        /// Pattern of `LIKE`.
        pattern: Option<String>,
    },
    /// `SHOW DATABASES`.
    ShowDatabases {
        /// Pattern of `LIKE`.
        pattern: Option<String>,
    },
    /// `SHOW CATALOGS`.
    ShowCatalogs {
        /// Pattern of `LIKE`.
        pattern: Option<String>,
    },
    /// `SHOW COLUMNS IN table`.
    ShowColumns {
        /// The table, with its schema.
        table: Name,
    },
    /// `SHOW [USER|SYSTEM|ALL] FUNCTIONS`.
    ShowFunctions {
        /// `user`, `system` or `all`.
        scope: String,
        /// Pattern of `LIKE`, or a name.
        pattern: Option<String>,
    },
    /// `SHOW CREATE TABLE`.
    ShowCreateTable {
        /// The table.
        name: Name,
    },
    /// `SHOW TBLPROPERTIES table [('key')]`.
    ShowTableProperties {
        /// The table.
        name: Name,
        /// Only this property.
        key: Option<String>,
    },
    /// `SHOW PARTITIONS`.
    ShowPartitions {
        /// The table.
        name: Name,
    },
    /// `SHOW CURRENT NAMESPACE`.
    ShowCurrentNamespace,
    /// `DESCRIBE [TABLE] [EXTENDED] name [column]`.
    DescribeTable {
        /// The table.
        name: Name,
        /// Whether `EXTENDED` or `FORMATTED`.
        extended: bool,
        /// Only this column.
        column: Option<Name>,
    },
    /// `DESCRIBE query`.
    DescribeQuery {
        /// The query.
        query: Relation,
    },
    /// `DESCRIBE FUNCTION [EXTENDED] name`.
    DescribeFunction {
        /// The function.
        name: Name,
        /// Whether examples are wanted.
        extended: bool,
    },
    /// `DESCRIBE DATABASE [EXTENDED] name`.
    DescribeDatabase {
        /// The schema.
        name: Name,
        /// Whether properties are wanted.
        extended: bool,
    },
    /// `CACHE [LAZY] TABLE name [AS query]`.
    CacheTable {
        /// The table or the new temporary view.
        name: Name,
        /// Whether nothing is computed yet.
        lazy: bool,
        /// `OPTIONS (storageLevel ...)`.
        options: BTreeMap<String, String>,
        /// The query of a new temporary view.
        query: Option<Relation>,
    },
    /// `UNCACHE TABLE`.
    UncacheTable {
        /// The table.
        name: Name,
        /// Whether a missing table is fine.
        if_exists: bool,
    },
    /// `CLEAR CACHE`.
    ClearCache,
    /// `REFRESH [TABLE] name`.
    RefreshTable {
        /// The table.
        name: Name,
    },
    /// `EXPLAIN`.
    Explain {
        /// How much to show.
        mode: ExplainMode,
        /// The statement to explain.
        statement: Box<Statement>,
    },
    /// `ANALYZE TABLE`: statistics, which have no effect on results.
    AnalyzeTable {
        /// The table.
        name: Name,
    },
    /// `ALTER TABLE|VIEW name RENAME TO name`.
    RenameTable {
        /// Present name.
        from: Name,
        /// New name.
        to: Name,
        /// Whether a view is meant.
        is_view: bool,
    },
}

/// How much `EXPLAIN` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExplainMode {
    /// The physical plan.
    #[default]
    Simple,
    /// Logical and physical plans.
    Extended,
    /// Generated code as well.
    Codegen,
    /// Statistics as well.
    Cost,
    /// An outline and details.
    Formatted,
}

/// The parts of `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CreateTable {
    /// Name of the table.
    pub name: Name,
    /// Whether nothing happens when it exists.
    pub if_not_exists: bool,
    /// Whether an existing table is replaced (`CREATE OR REPLACE`, `REPLACE`).
    pub replace: bool,
    /// Whether `EXTERNAL`.
    pub external: bool,
    /// Columns, as a struct type, partition columns with types included; absent with `AS query` and when
    /// the files are to say.
    pub schema: Option<DataType>,
    /// `USING` or `STORED AS`, in lower case; the session's default when absent.
    pub provider: Option<String>,
    /// `OPTIONS (...)`.
    pub options: BTreeMap<String, String>,
    /// `TBLPROPERTIES (...)`.
    pub properties: BTreeMap<String, String>,
    /// Columns of `PARTITIONED BY`.
    pub partitioned_by: Vec<String>,
    /// Buckets: their number, their columns and the columns to sort by.
    pub bucketed_by: Option<(i32, Vec<String>, Vec<String>)>,
    /// `LOCATION`.
    pub location: Option<String>,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// `AS query`.
    pub query: Option<Relation>,
}

/// Where `INSERT` writes.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertTarget {
    /// A table.
    Table(Name),
    /// `INSERT OVERWRITE DIRECTORY path USING source`.
    Directory {
        /// The path.
        path: String,
        /// The data source.
        provider: String,
        /// Its options.
        options: BTreeMap<String, String>,
    },
}

/// The parts of `INSERT`.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// Where to.
    pub target: InsertTarget,
    /// Whether existing rows are replaced.
    pub overwrite: bool,
    /// Columns that the query fills, by position; empty for all.
    pub columns: Vec<String>,
    /// Whether the query's columns are matched by name.
    pub by_name: bool,
    /// `PARTITION (a = 1, b)`: values of static partition columns, nothing for dynamic ones.
    pub partition: Vec<(String, Option<Expression>)>,
    /// Whether an existing partition is left alone.
    pub if_not_exists: bool,
    /// The rows.
    pub query: Relation,
}
