//! What outlives a master: the number of the next application, and the ids of those that run.
//!
//! Writes happen on a thread of their own, so that no connection waits for the disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tracing::warn;

use crate::ids::AppId;

const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const APPLICATIONS: TableDefinition<&str, u64> = TableDefinition::new("applications");
const NEXT_NUMBER: &str = "next application number";

/// Memory for pages of the store; the whole of it is a few kilobytes.
const CACHE_BYTES: usize = 1 << 20;

/// What a master finds of its former self.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Number of the next application.
    pub next_number: u64,
    /// Applications that had not ended.
    pub applications: BTreeSet<AppId>,
}

/// One change to what is stored.
#[derive(Debug)]
pub enum Change {
    /// An application was given this id.
    Add(AppId, u64),
    /// An application has ended.
    Remove(AppId),
}

/// The store. Dropping it finishes what was written.
#[derive(Debug)]
pub struct Store {
    changes: Option<mpsc::Sender<Change>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Store {
    /// Opens the store of the master at `port`, making it if there is none.
    ///
    /// # Errors
    /// When the directory or file cannot be used, for example because another master has it.
    pub fn open(dir: &Path, port: u16) -> Result<(Self, Stored), redb::Error> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(format!("master-{port}.redb"));
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        let stored = read(&database)?;
        let (changes, received) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("master-store".to_owned())
            .spawn(move || {
                while let Ok(change) = received.recv() {
                    if let Err(error) = write(&database, &change) {
                        warn!(%error, ?change, "cannot write the master's state");
                    }
                }
            })?;
        Ok((
            Self {
                changes: Some(changes),
                writer: Some(writer),
            },
            stored,
        ))
    }

    /// Has one change written soon.
    pub fn write(&self, change: Change) {
        if let Some(changes) = &self.changes
            && changes.send(change).is_err()
        {
            warn!("the writer of the master's state has ended");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            warn!("the writer of the master's state panicked");
        }
    }
}

fn read(database: &Database) -> Result<Stored, redb::Error> {
    let create = database.begin_write()?;
    create.open_table(COUNTERS)?;
    create.open_table(APPLICATIONS)?;
    create.commit()?;
    let read = database.begin_read()?;
    let next_number = read
        .open_table(COUNTERS)?
        .get(NEXT_NUMBER)?
        .map_or(0, |n| n.value());
    let mut applications = BTreeSet::new();
    for entry in read.open_table(APPLICATIONS)?.iter()? {
        applications.insert(AppId::from(entry?.0.value()));
    }
    Ok(Stored {
        next_number,
        applications,
    })
}

fn write(database: &Database, change: &Change) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut applications = transaction.open_table(APPLICATIONS)?;
        match change {
            Change::Add(app_id, next_number) => {
                applications.insert(app_id.0.as_str(), next_number)?;
                transaction
                    .open_table(COUNTERS)?
                    .insert(NEXT_NUMBER, next_number)?;
            }
            Change::Remove(app_id) => {
                applications.remove(app_id.0.as_str())?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_master_knows_what_ran_and_counts_on() {
        let dir = tempfile::tempdir().unwrap();
        let (store, stored) = Store::open(dir.path(), 7077).unwrap();
        assert_eq!(stored, Stored::default());
        assert!(Store::open(dir.path(), 7077).is_err(), "one master a store");
        store.write(Change::Add("app-1".into(), 1));
        store.write(Change::Add("app-2".into(), 2));
        store.write(Change::Remove("app-1".into()));
        drop(store);
        let (_store, stored) = Store::open(dir.path(), 7077).unwrap();
        assert_eq!(stored.next_number, 2);
        assert_eq!(stored.applications, BTreeSet::from(["app-2".into()]));
        assert_eq!(Store::open(dir.path(), 7078).unwrap().1, Stored::default());
    }
}
