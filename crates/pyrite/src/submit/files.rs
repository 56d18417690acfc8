//! Files named on the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Makes each path of a comma-separated list absolute and checks that it is there. A part after `#`
/// stays: it names the file at its destination.
pub fn absolute_list(list: &str, flag: &str) -> anyhow::Result<String> {
    let parts: Vec<String> = list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| absolute(part, flag))
        .collect::<anyhow::Result<_>>()?;
    Ok(parts.join(","))
}

fn absolute(part: &str, flag: &str) -> anyhow::Result<String> {
    let (path, alias) = match part.split_once('#') {
        Some((path, alias)) => (path, Some(alias)),
        None => (part, None),
    };
    let path = local_path(path).with_context(|| format!("cannot use `{part}` of {flag}"))?;
    let path =
        std::path::absolute(&path).with_context(|| format!("cannot use `{part}` of {flag}"))?;
    if !path.exists() {
        bail!("{flag}: file {} does not exist", path.display());
    }
    let path = path.display();
    Ok(alias.map_or_else(|| path.to_string(), |alias| format!("{path}#{alias}")))
}

fn local_path(text: &str) -> anyhow::Result<PathBuf> {
    match text.split_once(':') {
        Some(("file" | "local", path)) => {
            let rest = path.strip_prefix("//").unwrap_or(path);
            Ok(PathBuf::from(rest))
        }
        Some((scheme, _))
            if scheme.chars().all(|c| c.is_ascii_alphanumeric()) && text.contains("://") =>
        {
            bail!("fetching from {scheme}:// is not supported yet; use a local file")
        }
        _ => Ok(PathBuf::from(text)),
    }
}

/// What to put on the module search path for `--py-files`: archives and directories themselves, and
/// the directory of a single module.
pub fn module_paths(py_files: &[String]) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    let (modules, others): (Vec<_>, Vec<_>) =
        py_files.iter().partition(|file| file.ends_with(".py"));
    let directories = modules
        .iter()
        .filter_map(|file| Some(Path::new(file).parent()?.display().to_string()));
    for path in others.into_iter().cloned().chain(directories) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_keep_their_alias() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.zip");
        std::fs::write(&file, "").unwrap();
        let file = file.display();
        let list = absolute_list(
            &format!("{file}#env, file://{file},,file:{file}"),
            "--archives",
        )
        .unwrap();
        assert_eq!(list, format!("{file}#env,{file},{file}"));
        let missing = absolute_list("/no/such.zip", "--archives")
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("--archives") && missing.contains("/no/such.zip"),
            "{missing}"
        );
        let remote = absolute_list("s3://b/x.zip", "--files").unwrap_err();
        assert!(
            format!("{remote:#}").contains("not supported yet"),
            "{remote:#}"
        );
    }

    #[test]
    fn modules_are_found_through_their_directory() {
        let files = ["/a/m.py", "/a/n.py", "/b/lib.zip", "/c/pkg.egg"].map(str::to_owned);
        assert_eq!(module_paths(&files), ["/b/lib.zip", "/c/pkg.egg", "/a"]);
    }
}
