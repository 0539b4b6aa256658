//! A redis-server that belongs to one test: own directory, own port, gone with the test.
//!
//! States: running, paused (SIGSTOP), killed (port and directory kept), running again after `restart`.
//! It panics when no server program is installed, or when the server does not answer within a minute.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::port::ReservedPort;
use crate::process::Process;

/// Guards against hanging; generous for a slow machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(5);
/// How long one look at a starting server may take; a new look follows.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);
/// Generous, so that a loaded machine does not fail a test that only wants to look.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
const PORTS_TO_TRY: u32 = 5;

/// A private redis-server (or valkey-server), killed and reaped on drop.
///
/// No persistence unless `start_with` asks for it; `DEBUG` is allowed.
#[derive(Debug)]
pub struct RedisServer {
    // Before the port and the directory: the process must be gone before they are given back.
    process: Option<Process>,
    launch: Launch,
    port: ReservedPort,
    dir: TempDir,
}

impl RedisServer {
    /// A server with the defaults, ready to answer.
    ///
    /// # Panics
    ///
    /// When neither redis-server nor valkey-server is installed, or it does not come up within a minute.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server whose command line ends in `args`, e.g. `["--appendonly", "yes", "--appendfsync", "always"]`.
    ///
    /// With `--requirepass`, [`url`](Self::url) and [`connection`](Self::connection) carry the password.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_with(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        off_the_runtime(move || {
            let dir =
                tempfile::Builder::new().prefix("voketag-redis-").tempdir().expect("a temporary directory");
            let mut failure = String::new();
            for _ in 0..PORTS_TO_TRY {
                let port = ReservedPort::new();
                let launch = Launch { addr: port.addr(), dir: dir.path().to_owned(), args: args.clone() };
                match launch.run() {
                    Ok(process) => return Self { process: Some(process), launch, port, dir },
                    Err(NotUp::PortTaken(log)) => failure = log,
                    Err(NotUp::Other(why)) => panic!("{why}"),
                }
            }
            panic!("no port found that the server could bind; its last log:\n{failure}");
        })
        .await
    }

    /// `redis://127.0.0.1:<port>`, with the password if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        match self.launch.password() {
            Some(password) => format!("redis://:{password}@{}", self.addr()),
            None => format!("redis://{}", self.addr()),
        }
    }

    /// Where it listens, or would if it were running.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The port of [`addr`](Self::addr).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The server's working directory: its log, and its data when it persists any.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// SIGKILL: no goodbye, no last save. The port stays reserved and the directory stays as it is.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, killed first if it runs, with the same port, directory and arguments.
    ///
    /// # Panics
    ///
    /// When it does not come up within a minute.
    pub async fn restart(&mut self) {
        self.kill();
        let launch = self.launch.clone();
        let process = off_the_runtime(move || match launch.run() {
            Ok(process) => process,
            Err(NotUp::PortTaken(why) | NotUp::Other(why)) => panic!("{why}"),
        })
        .await;
        self.process = Some(process);
    }

    /// SIGSTOP: connections stay open, the kernel still accepts new ones, nothing is answered.
    ///
    /// # Panics
    ///
    /// When the server is not running.
    pub fn pause(&self) {
        self.running().signal(Signal::STOP);
    }

    /// SIGCONT: what was sent meanwhile is answered now.
    ///
    /// # Panics
    ///
    /// When the server is not running.
    pub fn resume(&self) {
        self.running().signal(Signal::CONT);
    }

    /// A connection of the test's own, for looking at the data and tampering with it.
    ///
    /// # Panics
    ///
    /// When the server cannot be reached.
    pub async fn connection(&self) -> MultiplexedConnection {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(CONNECTION_TIMEOUT));
        redis::Client::open(self.url())
            .expect("the URL is well formed")
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap_or_else(|error| panic!("cannot reach the test's redis at {}: {error}", self.addr()))
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server is running")
    }
}

/// Waiting for a process must neither block the runtime nor depend on its clock, which a test may have
/// paused.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

#[derive(Debug)]
enum NotUp {
    PortTaken(String),
    Other(String),
}

/// Everything needed to start the server, the first time or again.
#[derive(Debug, Clone)]
struct Launch {
    addr: SocketAddr,
    dir: PathBuf,
    args: Vec<String>,
}

impl Launch {
    /// Starts the server and returns once it answers `PONG`, and is the process that we started.
    fn run(&self) -> Result<Process, NotUp> {
        let clock = SystemClock::new();
        let log_path = self.dir.join("server.log");
        let log = File::create(&log_path).expect("a log file in the server's own directory");
        let mut process = Process::spawn(PROGRAM.name, |command| self.configure(command, log))
            .map_err(|error| NotUp::Other(format!("cannot start {}: {error}", PROGRAM.name)))?;
        while clock.monotonic() < READY_WITHIN {
            if process.has_exited() {
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                return Err(match log.contains("Address already in use") {
                    true => NotUp::PortTaken(log),
                    false => NotUp::Other(format!("{} ended at once; its log:\n{log}", PROGRAM.name)),
                });
            }
            if self.answers_as(process.id()).unwrap_or(false) {
                return Ok(process);
            }
            std::thread::sleep(POLL_EVERY);
        }
        let log = fs::read_to_string(&log_path).unwrap_or_default();
        Err(NotUp::Other(format!("{} was not ready within {READY_WITHIN:?}; its log:\n{log}", PROGRAM.name)))
    }

    fn configure(&self, command: &mut Command, log: File) {
        let errors = log.try_clone().expect("a second handle on the log file");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.addr.port().to_string(), "--dir"])
            .arg(&self.dir);
        command.args(["--save", "", "--appendonly", "no"]);
        if PROGRAM.guards_debug {
            command.args(["--enable-debug-command", "local"]);
        }
        command.args(&self.args).stdout(log).stderr(errors);
    }

    /// Whether whoever listens on the port answers `PONG` and has that process id.
    fn answers_as(&self, process_id: u32) -> io::Result<bool> {
        let mut link = TcpStream::connect_timeout(&self.addr, LOOK_TIMEOUT)?;
        link.set_read_timeout(Some(LOOK_TIMEOUT))?;
        if let Some(password) = self.password() {
            write!(link, "AUTH {password}\r\n")?;
        }
        // QUIT makes the server close the link, which ends the read.
        link.write_all(b"PING\r\nINFO server\r\nQUIT\r\n")?;
        let mut reply = String::new();
        link.read_to_string(&mut reply)?;
        let mut lines = reply.lines();
        let ponged = lines.any(|line| line == "+PONG");
        Ok(ponged && lines.any(|line| line == format!("process_id:{process_id}")))
    }

    fn password(&self) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == "--requirepass")?;
        self.args.get(at + 1).map(String::as_str)
    }
}

struct Program {
    name: &'static str,
    /// Redis 7.0 and Valkey refuse `DEBUG` unless told otherwise; Redis 6.2 does not know the directive.
    guards_debug: bool,
}

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    for name in ["redis-server", "valkey-server"] {
        if let Ok(output) = Command::new(name).arg("--version").stdin(Stdio::null()).output() {
            let version = String::from_utf8_lossy(&output.stdout).into_owned();
            return Program { name, guards_debug: !version.contains("v=6.") };
        }
    }
    panic!(
        "neither redis-server nor valkey-server is on the PATH, and these tests need one: \
         `apt-get install redis-server` (Debian, Ubuntu), `dnf install valkey` (Fedora) or \
         `brew install redis`"
    );
});
