//! Child processes that cannot outlive the test: killed and waited for on drop, and, where `setpriv` is there
//! to ask for it, killed by the kernel when the test process itself is.
//!
//! The kernel's promise hangs on the *thread* that started the child, so one thread that never ends starts
//! all.

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

use rustix::process::{Pid, Signal, kill_process};

/// A running child, SIGKILLed and reaped on drop.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `program` with the rest of its command set up by `configure`.
    pub(crate) fn spawn(program: &str, configure: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let mut command = if *HAS_SETPRIV {
            let mut wrapped = Command::new("setpriv");
            wrapped.args(["--pdeathsig", "KILL", program]);
            wrapped
        } else {
            Command::new(program)
        };
        configure(command.stdin(Stdio::null()));
        let (reply, started) = channel();
        SPAWNER.send((command, reply)).expect("the spawning thread lives as long as the process");
        started.recv().expect("the spawning thread answers every order").map(Self)
    }

    /// The process id of the program itself: `setpriv` replaces itself by it.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_exited(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a child's id is a valid one");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal process {pid:?}: {error}"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error here means that it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Order = (Command, Sender<io::Result<Child>>);

static SPAWNER: LazyLock<Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = channel::<Order>();
    std::thread::Builder::new()
        .name("test-support-spawner".to_owned())
        .spawn(move || {
            for (mut command, reply) in inbox {
                // Nobody left to take the child: dropping the reply must not leave it running.
                if let Err(unclaimed) = reply.send(command.spawn())
                    && let Ok(child) = unclaimed.0
                {
                    drop(Process(child));
                }
            }
        })
        .expect("a thread can be started");
    orders
});

static HAS_SETPRIV: LazyLock<bool> = LazyLock::new(|| {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
});
