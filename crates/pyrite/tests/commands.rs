//! The binary as its users call it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(20);

/// Most memory of a daemon that has nothing to do.
const IDLE_RSS_KIB: u64 = 40 * 1024;

fn pyrite(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyrite"));
    command
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir);
    command
}

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    shown(
        &pyrite(dir)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap(),
    )
}

fn shown(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn script(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn wrong_usage_and_versions_have_their_status() {
    let dir = tempfile::tempdir().unwrap();
    let (status, out, _) = run(dir.path(), &["--version"]);
    assert_eq!(
        (status, out.trim()),
        (Some(0), concat!("pyrite ", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(run(dir.path(), &["worker"]).0, Some(2));
    assert_eq!(run(dir.path(), &["worker", "local[2]"]).0, Some(1));
    let (status, _, err) = run(dir.path(), &["submit", "--version"]);
    assert!(status == Some(0) && err.contains("version 4.2.0"), "{err}");
    for (args, word) in [
        (&["submit"][..], "program is missing"),
        (
            &["submit", "--no-such-flag", "x.py"],
            "Unrecognized option: --no-such-flag",
        ),
        (&["submit", "--master"], "--master"),
        (&["submit", "x.jar"], "JVM"),
        (
            &["submit", "--deploy-mode", "cluster", "x.py"],
            "not supported yet",
        ),
        (
            &["submit", "--master", "mesos://x", "x.py"],
            "Could not parse Master URL: 'mesos://x'",
        ),
        (
            &["submit", "--kill", "driver-1", "x.py"],
            "not supported yet",
        ),
        (&["submit", "--py-files", "gone.zip", "x.py"], "gone.zip"),
        (
            &["submit", "--properties-file", "gone.conf", "x.py"],
            "gone.conf",
        ),
        (&["shell", "x.py"], "spark-submit x.py"),
    ] {
        let (status, _, err) = run(dir.path(), args);
        assert!(
            status == Some(1) && err.contains(word),
            "{args:?}: {status:?} {err}"
        );
    }
    let (status, _, err) = run(dir.path(), &["submit", "nowhere.py"]);
    assert!(
        status == Some(2) && err.contains("nowhere.py"),
        "as Python itself says it: {err}"
    );
}

#[test]
fn the_application_gets_settings_arguments_and_its_own_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "dep.py", "value = 'imported'\n");
    script(
        dir.path(),
        "settings.conf",
        "spark.from.file yes\nspark.pyspark.python python3\n",
    );
    let program = "import json, os, sys, dep\n\
        print(json.dumps([sys.argv, json.loads(os.environ['PYRITE_SUBMIT_CONF']), dep.value, \
        os.environ['PYTHONHASHSEED'], os.environ['PYRITE_PROPERTIES_FILE']]))\n\
        sys.exit(7)\n";
    std::fs::create_dir(dir.path().join("app")).unwrap();
    script(dir.path(), "app/main.py", program);
    let args = [
        "submit",
        "--conf",
        "spark.a=b",
        "--properties-file",
        "settings.conf",
        "--py-files",
        "dep.py",
    ];
    let (status, out, err) = run(
        dir.path(),
        &[&args[..], &["app/main.py", "--name", "x"]].concat(),
    );
    assert_eq!(status, Some(7), "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found[0], serde_json::json!(["app/main.py", "--name", "x"]));
    assert_eq!(
        (&found[1]["spark.a"], &found[1]["spark.app.name"]),
        (&Value::from("b"), &Value::from("main.py"))
    );
    assert_eq!(found[1]["spark.master"], "local[*]");
    assert!(
        found[1]["spark.from.file"].is_null(),
        "a file has less weight than flags: {found}"
    );
    assert_eq!(
        (&found[2], &found[3]),
        (&Value::from("imported"), &Value::from("0"))
    );
    assert!(found[4].as_str().unwrap().ends_with("/settings.conf"));
}

#[test]
fn a_wrong_settings_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf");
    std::fs::create_dir(&conf).unwrap();
    script(
        &conf,
        "spark-defaults.conf",
        "# memory\nspark.executor.memory plenty\n",
    );
    let output = pyrite(dir.path())
        .env("SPARK_CONF_DIR", &conf)
        .args(["submit", "x.py"])
        .output()
        .unwrap();
    let (status, _, err) = shown(&output);
    assert!(
        status == Some(1) && err.contains("spark-defaults.conf:2") && err.contains("plenty"),
        "{err}"
    );
    script(&conf, "spark-env.sh", "if then\n");
    let output = pyrite(dir.path())
        .env("SPARK_CONF_DIR", &conf)
        .args(["submit", "x.py"])
        .output()
        .unwrap();
    let (status, _, err) = shown(&output);
    assert!(
        status == Some(1) && err.contains("spark-env.sh") && err.contains("line 1"),
        "{err}"
    );
}

/// A daemon with its ready line; killed at the end whatever happens.
struct Daemon {
    child: Child,
    ready: Value,
    _stdout: BufReader<ChildStdout>,
}

impl Daemon {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .arg("--child")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self {
            child,
            ready,
            _stdout: stdout,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim()
            .strip_suffix("kB")
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended in a test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn daemons_are_small_and_end_with_signal_or_stdin() {
    let dir = tempfile::tempdir().unwrap();
    let mut master = Daemon::start(pyrite(dir.path()).args([
        "master",
        "-h",
        "127.0.0.1",
        "-p",
        "0",
        "--webui-port",
        "0",
    ]));
    let url = master.ready["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("spark://127.0.0.1:"), "{url}");
    let mut worker = Daemon::start(pyrite(dir.path()).args([
        "worker",
        &url,
        "-h",
        "127.0.0.1",
        "--webui-port",
        "0",
        "-c",
        "2",
        "-m",
        "1g",
        "-d",
        "work",
    ]));
    assert_eq!(worker.ready["master_url"], url);
    assert!(
        worker.ready["worker_id"]
            .as_str()
            .unwrap()
            .starts_with("worker-20")
    );
    assert!(
        master.rss_kib() < IDLE_RSS_KIB,
        "the master takes {} KiB",
        master.rss_kib()
    );
    assert!(
        worker.rss_kib() < IDLE_RSS_KIB,
        "the worker takes {} KiB",
        worker.rss_kib()
    );
    drop(worker.child.stdin.take());
    assert_eq!(worker.wait().code(), Some(0));
    kill(master.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(master.wait().code(), Some(0));
}

#[test]
fn a_worker_that_the_master_refuses_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = pyrite(dir.path());
    command
        .args(["master", "-h", "127.0.0.1", "-p", "0", "--webui-port", "0"])
        .env("PYRITE_AUTH_SECRET", "x");
    let master = Daemon::start(&mut command);
    let url = master.ready["url"].as_str().unwrap();
    let (status, _, err) = run(
        dir.path(),
        &[
            "worker",
            url,
            "-h",
            "127.0.0.1",
            "--webui-port",
            "0",
            "-d",
            "work",
        ],
    );
    assert!(
        status == Some(1) && err.contains("PYRITE_AUTH_SECRET"),
        "{err}"
    );
}

#[test]
fn a_master_on_a_network_makes_a_secret_that_this_user_finds() {
    let dir = tempfile::tempdir().unwrap();
    let mut master = Daemon::start(pyrite(dir.path()).args([
        "master",
        "-h",
        "0.0.0.0",
        "-p",
        "0",
        "--webui-port",
        "0",
    ]));
    let port = master.ready["url"]
        .as_str()
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    let url = format!("spark://127.0.0.1:{port}");
    let args = [
        "worker",
        url.as_str(),
        "-h",
        "127.0.0.1",
        "--webui-port",
        "0",
        "-d",
        "work",
    ];
    let _worker = Daemon::start(pyrite(dir.path()).args(args));
    let other = tempfile::tempdir().unwrap();
    let (status, _, err) = run(other.path(), &args);
    assert!(
        status == Some(1) && err.contains("wants the secret"),
        "{err}"
    );
    master.child.stdin.take().unwrap().flush().unwrap();
    assert_eq!(master.wait().code(), Some(0));
}
