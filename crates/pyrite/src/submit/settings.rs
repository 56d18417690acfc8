//! From flags to settings.

use anyhow::{anyhow, bail};
use pyrite_conf::{Environment, MasterUrl, Origin, SparkConf};

use super::files;
use crate::cli::SubmitArgs;

/// Names the options that cannot be served, instead of ignoring them.
pub fn refuse_unsupported(args: &SubmitArgs) -> anyhow::Result<()> {
    if args.status.is_some() || args.kill.is_some() {
        bail!("--status and --kill are not supported yet: they are about drivers in cluster mode");
    }
    let jvm = [
        ("--class", &args.class),
        ("--jars", &args.jars),
        ("--packages", &args.packages),
        ("--exclude-packages", &args.exclude_packages),
        ("--repositories", &args.repositories),
        ("--driver-java-options", &args.driver_java_options),
        ("--driver-library-path", &args.driver_library_path),
        ("--driver-class-path", &args.driver_class_path),
    ];
    for (flag, value) in jvm {
        if value.is_some() {
            eprintln!("warning: {flag} has no effect: there is no JVM");
        }
    }
    Ok(())
}

/// The settings that the flags stand for. What only fills a gap (the name of the program, `MASTER`,
/// `local[*]`) gives way to `defaults`.
pub fn flags(
    args: &SubmitArgs,
    environment: &Environment,
    defaults: &SparkConf,
    name: Option<&str>,
) -> anyhow::Result<SparkConf> {
    let mut flags = SparkConf::new();
    for pair in &args.conf {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| anyhow!("Spark config without '=': {pair}"))?;
        flags.set_from(key.trim(), value.trim(), Origin::Flag);
    }
    let named = [
        ("spark.master", &args.master),
        ("spark.app.name", &args.name),
        ("spark.submit.deployMode", &args.deploy_mode),
        ("spark.driver.memory", &args.driver_memory),
        ("spark.driver.cores", &args.driver_cores),
        ("spark.executor.memory", &args.executor_memory),
        ("spark.executor.cores", &args.executor_cores),
        ("spark.cores.max", &args.total_executor_cores),
        ("spark.executor.instances", &args.num_executors),
    ];
    for (key, value) in named {
        if let Some(value) = value {
            flags.set_from(key, value, Origin::Flag);
        }
    }
    for (key, list, flag) in [
        ("spark.submit.pyFiles", &args.py_files, "--py-files"),
        ("spark.files", &args.files, "--files"),
        ("spark.archives", &args.archives, "--archives"),
    ] {
        if let Some(list) = list {
            flags.set_from(key, files::absolute_list(list, flag)?, Origin::Flag);
        }
    }
    let gaps = [
        (
            "spark.master",
            Some(environment.get("MASTER").unwrap_or("local[*]")),
        ),
        ("spark.app.name", name),
    ];
    for (key, value) in gaps {
        if let Some(value) = value
            && !flags.contains(key)
            && !defaults.contains(key)
        {
            flags.set_from(key, value, Origin::Flag);
        }
    }
    Ok(flags)
}

/// Checks what is known before the application runs.
pub fn check(conf: &SparkConf) -> anyhow::Result<()> {
    conf.validate()?;
    match conf.value("spark.submit.deployMode") {
        Some("client") | None => {}
        Some("cluster") => {
            bail!("deploy mode `cluster` is not supported yet; use `--deploy-mode client`")
        }
        Some(other) => bail!("`{other}` is no deploy mode; use client"),
    }
    let master = conf.get("spark.master").unwrap_or("local[*]");
    if master == "yarn" || master.starts_with("k8s://") {
        bail!(
            "master `{master}` is not supported; use local[N], local-cluster[W,C,M] or spark://host:port"
        );
    }
    MasterUrl::parse(master)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &SubmitArgs, defaults: &[(&str, &str)]) -> SparkConf {
        let defaults: SparkConf = defaults.iter().copied().collect();
        flags(args, &Environment::default(), &defaults, Some("main.py")).unwrap()
    }

    #[test]
    fn flags_win_over_conf_options_and_gaps_are_filled() {
        let args = SubmitArgs {
            master: Some("local[2]".to_owned()),
            conf: vec!["spark.master=local".to_owned(), "spark.x=a=b".to_owned()],
            total_executor_cores: Some("3".to_owned()),
            ..SubmitArgs::default()
        };
        assert_eq!(
            of(&args, &[]).iter().collect::<Vec<_>>(),
            [
                ("spark.app.name", "main.py"),
                ("spark.cores.max", "3"),
                ("spark.master", "local[2]"),
                ("spark.x", "a=b")
            ]
        );
        let with_file = of(
            &SubmitArgs::default(),
            &[
                ("spark.app.name", "of file"),
                ("spark.master", "spark://h:1"),
            ],
        );
        assert_eq!(with_file.iter().count(), 0, "the file has both");
        assert_eq!(
            of(&SubmitArgs::default(), &[]).get("spark.master"),
            Some("local[*]")
        );
    }

    #[test]
    fn what_cannot_work_is_said_before_the_start() {
        for (key, value, word) in [
            ("spark.submit.deployMode", "cluster", "not supported yet"),
            ("spark.master", "yarn", "not supported"),
            (
                "spark.master",
                "nowhere",
                "Could not parse Master URL: 'nowhere'",
            ),
            ("spark.executor.memory", "much", "`much`"),
        ] {
            let error = check(&SparkConf::from_iter([(key, value)])).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        let args = SubmitArgs {
            conf: vec!["spark.x".to_owned()],
            ..SubmitArgs::default()
        };
        assert!(flags(&args, &Environment::default(), &SparkConf::new(), None).is_err());
        let args = SubmitArgs {
            kill: Some("driver-1".to_owned()),
            ..SubmitArgs::default()
        };
        assert!(refuse_unsupported(&args).is_err());
    }
}
