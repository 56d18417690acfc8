//! Directories that shall not outlive their process (`spark.local.dir`).
//!
//! A process that ends in order removes its directory. One that is killed cannot: whoever makes a
//! directory beside it later removes it. The owner holds a lock on a file in the directory, which
//! the system releases with the process, however that ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

const OWNER_FILE: &str = ".owner";
const UNLOCKED_FILE: &str = ".owner-new";

/// Holds a directory as long as it lives; what it holds, [`sweep`] leaves alone.
#[derive(Debug)]
pub struct Owner(#[expect(dead_code, reason = "held for its lock")] File);

/// Makes this process the owner of a directory that it has just made.
///
/// # Errors
/// When the directory cannot be written or locked.
pub fn own(dir: &Path) -> io::Result<Owner> {
    let unlocked = dir.join(UNLOCKED_FILE);
    let file = File::create(&unlocked)?;
    file.lock()?;
    // Under its name, the file is locked from the first moment on.
    std::fs::rename(unlocked, dir.join(OWNER_FILE))?;
    Ok(Owner(file))
}

/// Removes the directories below `base` whose names begin with `prefix` and whose owners are gone;
/// says how many. Others', and those that never had an owner, stay.
pub fn sweep(base: &Path, prefix: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(base) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| {
            entry.file_name().to_string_lossy().starts_with(prefix)
                && is_abandoned(&entry.path())
                // Another user's, or somebody else is just removing it.
                && std::fs::remove_dir_all(entry.path()).is_ok()
        })
        .count()
}

fn is_abandoned(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(OWNER_FILE)) else {
        return false;
    };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_owns_any_more_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = base.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("data"), "x").unwrap();
            dir
        };
        let (alive, dead) = (make("pyrite-alive"), make("pyrite-dead"));
        let (strange, other) = (make("pyrite-strange"), make("other"));
        let _owner = own(&alive).unwrap();
        drop(own(&dead).unwrap());
        drop(own(&other).unwrap());
        assert_eq!(sweep(base.path(), "pyrite-"), 1);
        assert!(!dead.exists());
        assert!(alive.exists() && strange.exists() && other.exists());
        assert_eq!(sweep(&base.path().join("nowhere"), "pyrite-"), 0);
    }
}
