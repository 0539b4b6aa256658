//! The run: each connection sends a request, reads the whole response, and sends the next.
//!
//! All connections open before the first request. A connection that the server closes is opened again. One
//! that fails repeatedly gives up. At the end, requests in flight may complete within [`GRACE`].

use std::cell::{Cell, RefCell};
use std::sync::Barrier;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::plan::{LoadPlan, Stop};
use super::tally::{LoadReport, Tally};
use crate::error::BenchError;
use crate::wire::ClientConnection;

/// How long to wait for responses after the end of the run.
const GRACE: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The number of failed exchanges after which a connection gives up.
const PATIENCE: u32 = 100;

/// Runs `plan` on separate threads and blocks until it ends.
///
/// # Errors
/// Fails if a connection cannot be opened at the start.
pub(crate) fn run(plan: &LoadPlan) -> Result<LoadReport, BenchError> {
    let threads = plan.threads.clamp(1, plan.connections);
    let together = Barrier::new(threads);
    let outcomes: Vec<Result<(Tally, Duration), BenchError>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let together = &together;
                scope.spawn(move || one_thread(plan, Share { number, threads }, together))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let (mut all, mut longest) = (Tally::default(), Duration::ZERO);
    for outcome in outcomes {
        let (tally, elapsed) = outcome?;
        all.merge(&tally);
        longest = longest.max(elapsed);
    }
    Ok(all.report(longest))
}

/// The part of the run of one thread.
#[derive(Clone, Copy)]
struct Share {
    number: usize,
    threads: usize,
}

impl Share {
    fn of(self, total: usize) -> usize {
        total / self.threads + usize::from(self.number < total % self.threads)
    }

    fn of_u64(self, total: u64) -> u64 {
        let (number, threads) = (self.number as u64, self.threads as u64);
        total / threads + u64::from(number < total % threads)
    }
}

/// The state that the connections of a thread share.
struct Course<'a> {
    plan: &'a LoadPlan,
    clock: SystemClock,
    next: Cell<u64>,
    stride: u64,
    left: Cell<u64>,
    until: Duration,
    under_way: Cell<u64>,
    last_answer: Cell<Duration>,
    tally: RefCell<Tally>,
}

impl Course<'_> {
    /// Returns the number of the next request, or `None` at the end of the run.
    fn next(&self, now: Duration) -> Option<u64> {
        let left = self.left.get().checked_sub(1).filter(|_| now < self.until)?;
        self.left.set(left);
        let number = self.next.get();
        self.next.set(number.wrapping_add(self.stride));
        self.under_way.set(self.under_way.get() + 1);
        Some(number)
    }

    fn done(&self, now: Duration) {
        self.under_way.set(self.under_way.get() - 1);
        self.last_answer.set(now);
    }
}

fn one_thread(plan: &LoadPlan, share: Share, together: &Barrier) -> Result<(Tally, Duration), BenchError> {
    let opened = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("cannot start a runtime"))
        .and_then(|runtime| runtime.block_on(open(plan, share)).map(|links| (runtime, links)));
    // Also after a failure, because the other threads wait here.
    together.wait();
    let (runtime, links) = opened?;
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let course = Course {
        plan,
        next: Cell::new(plan.first.wrapping_add(share.number as u64)),
        stride: share.threads as u64,
        left: Cell::new(match plan.stop {
            Stop::Requests(total) => share.of_u64(total),
            Stop::After(_) => u64::MAX,
        }),
        until: began + plan.stop.bound(),
        under_way: Cell::new(0),
        last_answer: Cell::new(began),
        tally: RefCell::default(),
        clock,
    };
    runtime.block_on(async {
        let mut connections: FuturesUnordered<_> =
            links.into_iter().map(|link| converse(&course, link)).collect();
        let all = async { while connections.next().await.is_some() {} };
        // What is unfinished then is counted below.
        let _ = tokio::time::timeout(plan.stop.bound() + GRACE, all).await;
    });
    let mut tally = course.tally.take();
    for _ in 0..course.under_way.get() {
        tally.failed(&"no answer in time");
    }
    Ok((tally, course.last_answer.get().saturating_sub(began)))
}

async fn open(plan: &LoadPlan, share: Share) -> Result<Vec<ClientConnection>, BenchError> {
    let mut links = Vec::new();
    for _ in 0..share.of(plan.connections) {
        links
            .push(connect(plan).await.map_err(BenchError::io(format!("cannot connect to {}", plan.target)))?);
    }
    Ok(links)
}

async fn connect(plan: &LoadPlan) -> std::io::Result<ClientConnection> {
    tokio::time::timeout(CONNECT_WITHIN, ClientConnection::connect(plan.target)).await?
}

/// Sends the requests of one connection, one after another.
async fn converse(course: &Course<'_>, mut link: ClientConnection) {
    let mut request = Vec::with_capacity(1_024);
    let mut broken = 0;
    let mut now = course.clock.monotonic();
    while let Some(number) = course.next(now) {
        course.plan.render(number, &mut request);
        let outcome = link.exchange(&request, |_| ()).await;
        let began = std::mem::replace(&mut now, course.clock.monotonic());
        course.done(now);
        let closed = match outcome {
            Ok(head) => {
                course.tally.borrow_mut().answered(&head, now.saturating_sub(began));
                head.closes
            }
            Err(error) => {
                course.tally.borrow_mut().failed(&error);
                broken += 1;
                true
            }
        };
        if !closed {
            continue;
        }
        if broken >= PATIENCE {
            return;
        }
        match connect(course.plan).await {
            Ok(anew) => link = anew,
            Err(error) => {
                course.tally.borrow_mut().failed(&error);
                return;
            }
        }
        now = course.clock.monotonic();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::num::NonZeroUsize;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Starts a server on a separate runtime and thread, whose connections are handled by `serve`.
    fn server<F, Fut>(serve: F) -> SocketAddr
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    tokio::spawn(serve(listener.accept().await.unwrap().0));
                }
            });
        });
        told.recv().unwrap()
    }

    /// Responds to up to `answers` requests, then closes the connection.
    async fn polite(mut stream: TcpStream, answers: usize) {
        let mut request = [0; 1_024];
        for number in 1..=answers {
            if stream.read(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
            let last = if number == answers { "connection: close\r\n" } else { "" };
            let answer = format!("HTTP/1.1 429 Too Many Requests\r\n{last}content-length: 2\r\n\r\nno");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn plan(target: SocketAddr, connections: usize, stop: Stop) -> LoadPlan {
        let url = format!("http://{target}/");
        LoadPlan::new(&url, NonZeroUsize::new(connections).unwrap(), stop).unwrap()
    }

    #[test]
    fn exactly_the_requests_asked_for_are_sent_by_any_number_of_threads() {
        let target = server(|stream| polite(stream, usize::MAX));
        for (threads, connections) in [(1, 1), (2, 7), (2, 1)] {
            let mut plan = plan(target, connections, Stop::Requests(1_001));
            plan.threads = threads;
            let report = run(&plan).unwrap();
            assert_eq!((report.requests, report.count(429), report.errors), (1_001, 1_001, 0));
            assert_eq!(report.missing_retry_after, 1_001);
            assert!(report.rps > 0.0 && report.p50_ms > 0.0 && report.p50_ms <= report.max_ms);
        }
    }

    #[test]
    fn a_connection_that_is_closed_politely_is_opened_anew() {
        let target = server(|stream| polite(stream, 3));
        let report = run(&plan(target, 2, Stop::Requests(100))).unwrap();
        assert_eq!((report.requests, report.errors), (100, 0));
    }

    #[test]
    fn a_server_that_hangs_up_is_an_error_and_not_an_endless_run() {
        let target = server(|stream| async move { drop(stream) });
        let report = run(&plan(target, 2, Stop::Requests(1_000_000))).unwrap();
        assert_eq!(report.requests, 0);
        assert_eq!(report.errors, u64::from(2 * PATIENCE));
        assert!(report.first_error.is_some());
    }

    #[test]
    fn a_run_by_time_ends_by_itself() {
        let target = server(|stream| polite(stream, usize::MAX));
        let report = run(&plan(target, 3, Stop::After(Duration::from_millis(50)))).unwrap();
        assert!(report.requests > 0 && report.errors == 0, "{report}");
    }

    #[test]
    fn nobody_listening_is_said_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        drop(listener);
        let error = run(&plan(target, 4, Stop::Requests(1))).unwrap_err().to_string();
        assert!(error.contains("cannot connect"), "{error}");
    }
}
