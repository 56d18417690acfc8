//! Paths to files: directories, globs, partition directories.

use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::prelude::SessionContext;
use object_store::ObjectMeta;
use pyrite_functions::parse;
use pyrite_proto::error::SparkError;

use crate::errors::{self, Result};
use crate::leaves::FileScan;

/// What stands for a null in a partition directory's name.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// A file and the partition values in its path.
#[derive(Debug, Clone)]
pub(super) struct FoundFile {
    pub meta: ObjectMeta,
    pub values: Vec<Option<String>>,
}

/// The files below some paths.
#[derive(Debug, Clone)]
pub(super) struct FoundFiles {
    pub store: ObjectStoreUrl,
    pub files: Vec<FoundFile>,
    /// Partition columns with the type that all their values have.
    pub partitions: Vec<(String, DataType)>,
}

/// Turns a path as users write it into one of the local file system.
pub(crate) fn local_path(path: &str) -> Result<PathBuf> {
    let plain = if let Some(rest) = path.strip_prefix("file://") {
        let absolute = rest.find('/').map_or(rest, |slash| &rest[slash..]);
        absolute.replace("%20", " ")
    } else if let Some(rest) = path.strip_prefix("file:") {
        rest.to_owned()
    } else if let Some((scheme, _)) = path.split_once("://") {
        return Err(SparkError::not_supported(format!("file system `{scheme}`")));
    } else {
        path.to_owned()
    };
    std::path::absolute(&plain).map_err(|e| SparkError::other(format!("path `{path}`: {e}")))
}

/// Finds the files of a scan, in order of their paths.
pub(super) async fn find(scan: &FileScan, _context: &SessionContext) -> Result<FoundFiles> {
    if scan.paths.is_empty() {
        return Err(errors::with_condition(
            "UNABLE_TO_INFER_SCHEMA",
            "42KD9",
            format!(
                "Unable to infer schema for {}. It must be specified manually.",
                scan.format
            ),
        ));
    }
    let scan = scan.clone();
    tokio::task::spawn_blocking(move || find_blocking(&scan))
        .await
        .map_err(|e| SparkError::other(format!("listing files failed: {e}")))?
}

fn find_blocking(scan: &FileScan) -> Result<FoundFiles> {
    let mut found: Vec<Found> = vec![];
    for path in &scan.paths {
        let absolute = local_path(path)?;
        let text = absolute.to_string_lossy().into_owned();
        let roots = if text.contains(['*', '?', '[', '{']) && !absolute.exists() {
            expand(&text)?
        } else {
            vec![absolute]
        };
        if roots.is_empty() || roots.iter().any(|r| !r.exists()) {
            return Err(errors::path_not_found(&format!("file:{text}")));
        }
        let base = scan
            .options
            .get("basepath")
            .map(|b| local_path(b))
            .transpose()?;
        for root in roots {
            let above = base
                .as_deref()
                .map_or(vec![], |base| partitions_between(base, &root));
            walk(&root, &above, &mut found)?;
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let partitions = columns(&found);
    let files = found
        .into_iter()
        .map(|(path, values)| {
            let values = partitions
                .iter()
                .map(|(name, _)| {
                    values
                        .iter()
                        .find(|(n, _)| n == name)
                        .and_then(|(_, v)| v.clone())
                })
                .collect();
            Ok(FoundFile {
                meta: meta(&path)?,
                values,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(FoundFiles {
        store: ObjectStoreUrl::local_filesystem(),
        files,
        partitions,
    })
}

/// Glob patterns, with `{a,b}` as Hadoop has it.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    let mut out = vec![];
    for pattern in braces(pattern) {
        let matches = glob::glob(&pattern)
            .map_err(|e| SparkError::other(format!("`{pattern}` is not a pattern: {e}")))?;
        for path in matches {
            out.push(path.map_err(|e| SparkError::other(format!("listing `{pattern}`: {e}")))?);
        }
    }
    Ok(out)
}

fn braces(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else {
        return vec![pattern.to_owned()];
    };
    let Some(close) = pattern[open..].find('}').map(|c| open + c) else {
        return vec![pattern.to_owned()];
    };
    pattern[open + 1..close]
        .split(',')
        .flat_map(|choice| {
            braces(&format!(
                "{}{choice}{}",
                &pattern[..open],
                &pattern[close + 1..]
            ))
        })
        .collect()
}

fn partition_of(name: &str) -> Option<(String, Option<String>)> {
    let (key, value) = name.split_once('=')?;
    let value = unescape(value);
    Some((unescape(key), (value != NULL_PARTITION).then_some(value)))
}

/// Undoes `%3A` and the like in directory names.
fn unescape(text: &str) -> String {
    let mut out = vec![];
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%' && i + 2 < bytes.len())
            .then(|| u8::from_str_radix(&text[i + 1..i + 3], 16).ok())
            .flatten();
        match hex {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn partitions_between(base: &Path, path: &Path) -> Vec<(String, Option<String>)> {
    match path.strip_prefix(base) {
        Ok(rest) => rest
            .iter()
            .filter_map(|p| partition_of(&p.to_string_lossy()))
            .collect(),
        Err(_) => vec![],
    }
}

type Found = (PathBuf, Vec<(String, Option<String>)>);

fn walk(path: &Path, partitions: &[(String, Option<String>)], out: &mut Vec<Found>) -> Result<()> {
    if path.is_file() {
        out.push((path.to_owned(), partitions.to_vec()));
        return Ok(());
    }
    let failed =
        |e: std::io::Error| SparkError::other(format!("listing `{}`: {e}", path.display()));
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Spark's rule for files that are no data; `_a=1` is a partition all the same.
        if name.starts_with('.') || (name.starts_with('_') && !name.contains('=')) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            let mut inner = partitions.to_vec();
            inner.extend(partition_of(&name));
            walk(&path, &inner, out)?;
        } else {
            out.push((path, partitions.to_vec()));
        }
    }
    Ok(())
}

/// The partition columns and the narrowest type for all values of each.
fn columns(found: &[Found]) -> Vec<(String, DataType)> {
    let mut names: Vec<String> = vec![];
    for (_, values) in found {
        for (name, _) in values {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
        .into_iter()
        .map(|name| {
            let values = found
                .iter()
                .flat_map(|(_, values)| values.iter().filter(|(n, _)| *n == name))
                .filter_map(|(_, v)| v.as_deref());
            let data_type = narrowest(values);
            (name, data_type)
        })
        .collect()
}

fn narrowest<'a>(values: impl Iterator<Item = &'a str> + Clone) -> DataType {
    let all = |test: fn(&str) -> bool| values.clone().all(test);
    if values.clone().next().is_none() {
        DataType::Utf8
    } else if all(|v| v.parse::<i32>().is_ok()) {
        DataType::Int32
    } else if all(|v| v.parse::<i64>().is_ok()) {
        DataType::Int64
    } else if all(|v| parse::double(v).is_some() && !v.ends_with(['d', 'f', 'D', 'F'])) {
        DataType::Float64
    } else if all(|v| v.len() == 10 && parse::date(v).is_some()) {
        DataType::Date32
    } else {
        DataType::Utf8
    }
}

fn meta(path: &Path) -> Result<ObjectMeta> {
    let failed = |e: String| SparkError::other(format!("file `{}`: {e}", path.display()));
    let info = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?;
    let modified = info.modified().map_err(|e| failed(e.to_string()))?;
    Ok(ObjectMeta {
        location: object_store::path::Path::from_absolute_path(path)
            .map_err(|e| failed(e.to_string()))?,
        last_modified: modified.into(),
        size: info.len(),
        e_tag: None,
        version: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_with_choices_multiply() {
        assert_eq!(
            braces("/a/{b,c}/{1,2}"),
            ["/a/b/1", "/a/b/2", "/a/c/1", "/a/c/2"]
        );
    }

    #[test]
    fn partition_values_get_the_narrowest_type() {
        assert_eq!(narrowest(["1", "2"].into_iter()), DataType::Int32);
        assert_eq!(narrowest(["1", "x"].into_iter()), DataType::Utf8);
        assert_eq!(narrowest(["1.5", "2"].into_iter()), DataType::Float64);
        assert_eq!(narrowest(["2020-01-01"].into_iter()), DataType::Date32);
    }

    #[test]
    fn partition_directories_are_unescaped() {
        assert_eq!(
            partition_of("a=x%3Ay"),
            Some(("a".into(), Some("x:y".into())))
        );
        assert_eq!(
            partition_of("a=__HIVE_DEFAULT_PARTITION__"),
            Some(("a".into(), None))
        );
        assert_eq!(partition_of("plain"), None);
    }
}
