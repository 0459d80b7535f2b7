//! Runs the original on one case, to record it.
//!
//! The original runs unchanged, with the configuration of the case and one more virtual service after it, whose
//! `checkcommand` writes `mark` to a log after each pass. It does not need the kernel's table: `tests/real_servers/run`
//! gives it an `ipvsadm` that writes its arguments to the same log. The log shows whether the server is in the table
//! after a pass, which is the verdict, whatever the check reports. The words come from the monitor file. The original
//! is neither changed nor traced.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The time without a pass after which the original counts as hanging.
const PATIENCE: Duration = Duration::from_secs(45);
/// The same for the first pass: many originals start at once.
const START: Duration = Duration::from_secs(90);
/// The number of servers per pass whose CPU time is measured.
const MEASURED: u64 = 50;
/// The number of measured passes.
const PASSES: usize = 4;

/// The original in a folder of its own. It may run or not.
pub struct Original {
    folder: PathBuf,
    name: String,
    child: Option<Child>,
}

impl Original {
    /// Creates the folder. The name must be unique.
    pub fn new(name: &str) -> Original {
        let folder = Path::new("/run/original").join(name);
        fs::create_dir_all(&folder).unwrap();
        let mark = folder.join("mark");
        fs::write(&mark, "#!/bin/sh\necho mark >>\"$ORIGINAL_LOG\"\n").unwrap();
        fs::set_permissions(&mark, fs::Permissions::from_mode(0o755)).unwrap();
        Original { folder, name: name.to_owned(), child: None }
    }

    fn start(&mut self, block: &str, seconds: u32) {
        let at = |file: &str| self.folder.join(file).display().to_string();
        let text = format!(
            "checktimeout={seconds}\nnegotiatetimeout={seconds}\ncheckinterval=1\nsupervised=yes\n\
             {block}\tmonitorfile=\"{}\"\nvirtual=192.0.2.1:1\n\treal=127.0.0.1:1 masq\n\tchecktype=external\n\
             \tcheckcommand=\"{}\"\n",
            at("monitor"),
            at("mark")
        );
        for old in ["monitor", "done"] {
            let _ = fs::remove_file(self.folder.join(old));
        }
        let config = format!("{}.cf", at(&self.name));
        fs::write(&config, text).unwrap();
        let log = File::create(self.folder.join("stderr")).unwrap();
        let child = Command::new("/usr/sbin/ldirectord")
            .args([&config, "start"])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("ORIGINAL_LOG", at("done"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("Debian's ldirectord, fetched for the record: {e}"));
        self.child = Some(child);
    }

    /// What it has done so far, one action per line.
    fn done(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("done")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn passes(&self) -> usize {
        self.done().iter().filter(|line| *line == "mark").count()
    }

    /// Starts it if it does not run. Returns the number of the first pass that reflects the present state of the
    /// servers.
    pub fn begin(&mut self, block: &str, seconds: u32) -> usize {
        if self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none()) {
            return self.passes() + 2;
        }
        self.start(block, seconds);
        2
    }

    /// What it reports after that pass, in words.
    pub fn verdict(&mut self, pass: usize) -> String {
        let began = Instant::now();
        loop {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            if self.passes() >= pass {
                return self.words();
            }
            if let Some(status) = ended {
                self.child = None;
                return format!("dies {status}: {}", self.complaint());
            }
            if began.elapsed() > if self.passes() == 0 { START } else { PATIENCE } {
                self.stop();
                return "hangs".to_owned();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the server is in the table, and what the monitor file says.
    fn words(&self) -> String {
        let done = self.done();
        let own = |line: &&String| !line.contains("127.0.0.1:1 ") && line.contains(" -r ");
        let last = done.iter().rfind(own);
        let verdict = if last.is_some_and(|line| line.starts_with("-a ")) { "up" } else { "down" };
        let monitor = fs::read_to_string(self.folder.join("monitor")).unwrap_or_default();
        let said = monitor.lines().last().and_then(|line| line.rsplit_once("] ")).map(|(_, said)| said);
        match said {
            None => format!("{verdict} (no word)"),
            Some("-") => verdict.to_owned(),
            Some(said) => format!("{verdict} {said}"),
        }
    }

    /// Its last message before it ended, without places in files.
    fn complaint(&self) -> String {
        let text = fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
        // Its log is included, each line with a time in brackets.
        let own = |line: &&str| !line.starts_with(['[', ' ']) && !line.starts_with("Use of uninitialized");
        let last = text.lines().rfind(own).unwrap_or_default();
        last.split(" (").next().unwrap_or_default().split(" at /").next().unwrap_or_default().to_owned()
    }

    /// The CPU time of a check in µs, including child processes, over some passes with many servers.
    pub fn measure(&mut self, block: &str, seconds: u32) -> u64 {
        self.stop();
        // The original treats the same server with another weight as another server.
        let many: String = block
            .lines()
            .flat_map(|line| {
                let weights = if line.contains("\treal") { 1..=MEASURED } else { 0..=0 };
                weights.map(move |weight| match weight {
                    0 => format!("{line}\n"),
                    weight => format!("{}\n", line.replacen(" masq", &format!(" masq {weight}"), 1)),
                })
            })
            .collect();
        self.start(&many, seconds);
        let limit = Instant::now() + 4 * START;
        let at = |original: &mut Original, pass: usize| {
            while original.passes() < pass {
                let ended = original.child.as_mut().unwrap().try_wait().unwrap();
                assert!(
                    ended.is_none() && Instant::now() < limit,
                    "{}: {}",
                    original.name,
                    original.complaint()
                );
                thread::sleep(Duration::from_millis(5));
            }
            original.cpu()
        };
        let before = at(self, 1);
        let after = at(self, 1 + PASSES);
        self.stop();
        (after - before) / (MEASURED * PASSES as u64)
    }

    /// The CPU time of the process and of its finished children, in µs.
    fn cpu(&self) -> u64 {
        let pid = self.child.as_ref().unwrap().id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum();
        // Linux reports them in hundredths of a second.
        ticks * 10_000
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        self.stop();
    }
}
