//! Which bytes of which files each partition of a text RDD reads: Hadoop's `FileInputFormat`.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use datafusion::common::Result;
use pyrite_proto::error::SparkError;

use crate::errors::{external, hadoop, io};

/// Block size that Hadoop reports for local files.
const BLOCK_BYTES: u64 = 32 * 1024 * 1024;
/// A last split may be longer than the others by a tenth.
const SPLIT_SLOP: f64 = 1.1;

/// A range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSplit {
    pub(crate) path: PathBuf,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// How a file's bytes become text, by the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Bzip2,
    Zstd,
    Deflate,
}

impl Compression {
    /// Chooses by extension, as Hadoop's `CompressionCodecFactory` does.
    pub(crate) fn of_path(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Self::Gzip,
            Some("bz2") => Self::Bzip2,
            Some("zst") => Self::Zstd,
            Some("deflate") => Self::Deflate,
            _ => Self::None,
        }
    }
}

/// Splits the files that `paths` names into about `min_partitions` ranges.
///
/// `paths` is a comma-separated list of files, directories and globs. Files whose names start
/// with `_` or `.` are hidden, empty files give no partition, compressed files are never split.
///
/// # Errors
/// When a path does not exist, a glob matches nothing, or a directory holds directories.
pub(crate) fn splits(paths: &str, min_partitions: usize) -> Result<Vec<FileSplit>> {
    let files = list_files(paths)?;
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    let goal = total / min_partitions.max(1) as u64;
    let split_size = goal.clamp(1, BLOCK_BYTES);
    Ok(files
        .into_iter()
        .flat_map(|(path, length)| split_file(path, length, split_size))
        .collect())
}

fn split_file(path: PathBuf, length: u64, split_size: u64) -> Vec<FileSplit> {
    if length == 0 {
        return Vec::new();
    }
    let split = |start, length| FileSplit {
        path: path.clone(),
        start,
        length,
    };
    if Compression::of_path(&path) != Compression::None {
        return vec![split(0, length)];
    }
    let mut splits = Vec::new();
    let mut start = 0;
    while (length - start) as f64 / split_size as f64 > SPLIT_SLOP {
        splits.push(split(start, split_size));
        start += split_size;
    }
    if start < length {
        splits.push(split(start, length - start));
    }
    splits
}

/// Resolves paths to files with their lengths, in the order of the list; what a glob or a
/// directory yields is sorted by name.
fn list_files(paths: &str) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    let mut missing = Vec::new();
    for path in split_list(paths) {
        let path = local_path(path)?;
        let roots = expand(&path)?;
        if roots.is_empty() {
            missing.push(if has_glob(&path) {
                format!("Input Pattern file:{path} matches 0 files")
            } else {
                format!("Input path does not exist: file:{path}")
            });
        }
        for root in roots {
            let metadata = metadata(&root)?;
            if metadata.is_dir() {
                files.extend(list_directory(&root)?);
            } else {
                files.push((root, metadata.len()));
            }
        }
    }
    if missing.is_empty() {
        return Ok(files);
    }
    Err(hadoop(
        "org.apache.hadoop.mapred.InvalidInputException",
        missing.join("\n"),
    ))
}

fn list_directory(directory: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let failed = |e: &std::io::Error| io("list", directory, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|e| failed(&e))? {
        let entry = entry.map_err(|e| failed(&e))?;
        if !is_hidden(&entry.path()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let metadata = metadata(&path)?;
            if metadata.is_dir() {
                return Err(hadoop(
                    "java.io.IOException",
                    format!("Not a file: file:{}", path.display()),
                ));
            }
            Ok((path, metadata.len()))
        })
        .collect()
}

fn metadata(path: &Path) -> Result<Metadata> {
    std::fs::metadata(path).map_err(|e| io("read", path, &e))
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with(['_', '.']))
}

/// Commas separate paths, except inside `{a,b}`.
fn split_list(paths: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (index, character) in paths.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth <= 0 => {
                parts.push(&paths[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&paths[start..]);
    parts
}

/// The absolute local path that a Hadoop path names.
///
/// # Errors
/// When it names another file system.
pub(crate) fn local_path(path: &str) -> Result<String> {
    let local = match path.split_once(':') {
        Some(("file", rest)) => match rest.strip_prefix("//") {
            Some(rest) => &rest[rest.find('/').unwrap_or(0)..],
            None => rest,
        },
        Some((scheme, _)) if is_scheme(scheme) => {
            return Err(external(SparkError::not_supported(format!(
                "reading and writing `{scheme}:` paths"
            ))));
        }
        _ => path,
    };
    if local.is_empty() {
        return Err(hadoop(
            "java.lang.IllegalArgumentException",
            "Can not create a Path from an empty string",
        ));
    }
    let absolute = std::path::absolute(local).map_err(|e| io("resolve", Path::new(local), &e))?;
    Ok(absolute.to_string_lossy().into_owned())
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn has_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

/// Files and directories that a path names; hidden ones only when it spells them out.
fn expand(path: &str) -> Result<Vec<PathBuf>> {
    if !has_glob(path) {
        let path = PathBuf::from(path);
        return Ok(if path.exists() {
            vec![path]
        } else {
            Vec::new()
        });
    }
    let mut found = Vec::new();
    for pattern in expand_braces(path) {
        // Hadoop writes [^a-c] where the glob crate has [!a-c].
        let pattern = pattern.replace("[^", "[!");
        let options = glob::MatchOptions {
            require_literal_separator: true,
            ..glob::MatchOptions::default()
        };
        let matches = glob::glob_with(&pattern, options).map_err(|e| {
            hadoop(
                "java.io.IOException",
                format!("Illegal file pattern: {e} in `{path}`"),
            )
        })?;
        for entry in matches {
            let entry = entry.map_err(|e| io("list", &PathBuf::from(e.path()), e.error()))?;
            if !is_hidden(&entry) {
                found.push(entry);
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// `a{b,c}d` -> `abd`, `acd`; nested alternatives too.
fn expand_braces(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else {
        return vec![pattern.to_owned()];
    };
    let mut depth = 0;
    let close = pattern[open..].char_indices().find_map(|(index, c)| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        (depth == 0).then_some(open + index)
    });
    let Some(close) = close else {
        return vec![pattern.to_owned()];
    };
    let (head, tail) = (&pattern[..open], &pattern[close + 1..]);
    split_list(&pattern[open + 1..close])
        .into_iter()
        .flat_map(|choice| expand_braces(&format!("{head}{choice}{tail}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(splits: &[FileSplit]) -> Vec<u64> {
        splits.iter().map(|split| split.length).collect()
    }

    #[test]
    fn splits_follow_the_goal_size_and_the_slop() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, vec![b'x'; 100]).unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(lengths(&splits(path, 1).unwrap()), [100]);
        assert_eq!(lengths(&splits(path, 2).unwrap()), [50, 50]);
        assert_eq!(lengths(&splits(path, 3).unwrap()), [33, 33, 34]);
        assert_eq!(
            lengths(&splits(path, 7).unwrap()),
            [14, 14, 14, 14, 14, 14, 14, 2]
        );
    }

    #[test]
    fn compressed_files_stay_whole_and_empty_ones_give_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.gz"), vec![0; 100]).unwrap();
        std::fs::write(dir.path().join("b.txt"), b"").unwrap();
        let splits = splits(dir.path().to_str().unwrap(), 4).unwrap();
        assert_eq!(lengths(&splits), [100]);
    }

    #[test]
    fn lists_globs_and_directories_are_resolved_without_hidden_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        for name in ["b.txt", "a.txt", "c.csv", "_SUCCESS", ".hidden"] {
            std::fs::write(dir.path().join(name), b"x\n").unwrap();
        }
        let names = |paths: &str| -> Vec<String> {
            let splits = splits(paths, 1).unwrap();
            let name = |s: &FileSplit| s.path.file_name().unwrap().to_string_lossy().into_owned();
            splits.iter().map(name).collect()
        };
        assert_eq!(names(root), ["a.txt", "b.txt", "c.csv"]);
        assert_eq!(names(&format!("file://{root}/*.txt")), ["a.txt", "b.txt"]);
        assert_eq!(names(&format!("{root}/{{c,a}}.*")), ["a.txt", "c.csv"]);
        assert_eq!(
            names(&format!("{root}/c.csv,file:{root}/a.txt")),
            ["c.csv", "a.txt"]
        );
    }

    #[test]
    fn missing_paths_are_named() {
        let error = splits("/nowhere/at/all,/neither/*.txt", 1).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("Input path does not exist: file:/nowhere/at/all")
                && error
                    .to_string()
                    .contains("Input Pattern file:/neither/*.txt matches 0 files"),
            "{error}"
        );
    }

    #[test]
    fn other_file_systems_are_refused_by_name() {
        let error = splits("hdfs://host/x", 1).unwrap_err().to_string();
        assert!(
            error.contains("`hdfs:` paths is not supported yet"),
            "{error}"
        );
    }
}
