//! Joins the scans that wait at the same time into one script call.
//!
//! Each scan takes its own permit and waits in a queue. Each worker takes what waits, at most
//! [`MAX_SCANS_PER_CALL`], and sends it as one call. While all workers are busy the next batch of scans
//! gathers, so a lone scan never waits for others. The script processes the scans of a call in order.
//!
//! Failures: if a call gets no reply, all its scans fail with the same error. A scan without an answer one
//! command timeout after it got its permit fails with a timeout. A scan whose caller left before it was sent
//! is not sent. The number of permits bounds the queue.

use std::sync::Arc;

use prometheus_client::metrics::histogram::Histogram;
use redis::Value;
use redis_pool::{PoolError, PoolPermit, RedisPool, UnavailableReason};
use storage::{AuditWriter, DeploymentState, DurableStorage};
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{Instrument, Span};

use crate::domain::limits::Limits;
use crate::domain::scan_protocol::input::{LimitedScanInput, RecordIndexes, SharedRecords};
use crate::domain::scan_protocol::reply::{LimitedReply, malformed};
use crate::domain::scan_protocol::scripts::{LIMITED_SCAN, observe_head, push_state_args, push_state_keys};

/// The most scans in one call. Redis spends about 0.5 ms on them.
const MAX_SCANS_PER_CALL: usize = 32;
/// The most calls in flight: one that Redis processes, and one on its way.
const WORKERS: usize = 2;

/// The script's reply to one scan; `None` if the state is lost.
type RawReply = Option<Value>;

struct Waiting {
    input: LimitedScanInput,
    permit: PoolPermit,
    span: Span,
    answer: oneshot::Sender<Result<RawReply, PoolError>>,
}

/// Sends scans that Redis limits and counts in the same call.
pub(crate) struct Coalescer {
    pool: RedisPool,
    queue: mpsc::UnboundedSender<Waiting>,
}

impl Coalescer {
    /// Starts the workers. They end when the coalescer is dropped. Must be called inside a tokio runtime.
    pub(crate) fn start(storage: &DurableStorage, limits: &Arc<Limits>, call_sizes: &Histogram) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..WORKERS {
            let sender = Sender {
                pool: storage.pool.clone(),
                deployment: Arc::clone(&storage.deployment),
                audit: Arc::clone(&storage.audit),
                limits: Arc::clone(limits),
                call_sizes: call_sizes.clone(),
            };
            tokio::spawn(work(Arc::clone(&waiting), sender));
        }
        Self { pool: storage.pool.clone(), queue }
    }

    /// Sends one scan together with those that wait. Returns `None` if the state is lost.
    ///
    /// # Errors
    /// See [`PoolError`]; [`PoolError::Reply`] if the reply does not follow the protocol.
    pub(crate) async fn ask(&self, input: LimitedScanInput) -> Result<Option<LimitedReply>, PoolError> {
        let permit = self.pool.permit().await?;
        let (answer, answered) = oneshot::channel();
        let gone = || PoolError::Reply { what: "the scan's worker has ended".to_owned() };
        self.queue.send(Waiting { input, permit, span: current_span(), answer }).map_err(|_| gone())?;
        let within = self.pool.command_timeout();
        match tokio::time::timeout(within, answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(gone()))?.map(LimitedReply::read).transpose(),
            Err(_) => Err(PoolError::Unavailable {
                reason: UnavailableReason::Timeout(within),
                retry_after: within,
            }),
        }
    }
}

/// Sends the scans of one worker.
struct Sender {
    pool: RedisPool,
    deployment: Arc<DeploymentState>,
    audit: Arc<AuditWriter>,
    limits: Arc<Limits>,
    call_sizes: Histogram,
}

async fn work(queue: Arc<Mutex<mpsc::UnboundedReceiver<Waiting>>>, sender: Sender) {
    loop {
        let mut scans = Vec::with_capacity(MAX_SCANS_PER_CALL);
        {
            let mut queue = queue.lock().await;
            let Some(first) = queue.recv().await else { return };
            scans.push(first);
            // Scans whose tasks are ready to run join this call. If there are none, this costs nothing.
            tokio::task::yield_now().await;
            while scans.len() < MAX_SCANS_PER_CALL {
                let Ok(next) = queue.try_recv() else { break };
                scans.push(next);
            }
        }
        scans.retain(|waiting| !waiting.answer.is_closed());
        let span = span_of(&scans);
        send(scans, &sender).instrument(span).await;
    }
}

/// Returns the span that a scan waits in, if it is sampled.
fn current_span() -> Span {
    if spans::is_sampled() { Span::current() } else { Span::none() }
}

/// Returns the span of one call for all these scans, if one of them is sampled.
fn span_of(scans: &[Waiting]) -> Span {
    if !spans::is_on() {
        return Span::none();
    }
    spans::group(
        scans.iter().map(|waiting| &waiting.span),
        || tracing::info_span!(target: spans::TARGET, "scan call", voketag.scan.group_size = scans.len()),
    )
}

async fn send(scans: Vec<Waiting>, sender: &Sender) {
    let Sender { pool, deployment, audit, limits, call_sizes } = sender;
    // A scan is queued only after this process has seen a deployment, and it never forgets the one it saw.
    let Some(deployment) = deployment.seen() else { return };
    let mut call = LIMITED_SCAN.invoke();
    push_state_keys(&mut call);
    limits.regional().push_birth_key(&mut call);
    let mut records = SharedRecords::default();
    let record_indexes: Vec<RecordIndexes> =
        scans.iter().map(|Waiting { input, .. }| records.add(&input.scan)).collect();
    records.push_keys(&mut call);
    for Waiting { input, .. } in &scans {
        input.push_keys(&mut call, limits);
    }
    push_state_args(&mut call, audit, deployment.prefix());
    for (_, quota) in limits.quotas() {
        limits.regional().push_args(&mut call, std::iter::once(quota));
    }
    records.push_args(&mut call);
    for (Waiting { input, .. }, indexes) in scans.iter().zip(record_indexes) {
        input.push_args(&mut call, indexes);
    }
    let mut permits: Option<PoolPermit> = None;
    let mut callers = Vec::with_capacity(scans.len());
    for Waiting { permit, answer, .. } in scans {
        match &mut permits {
            Some(permits) => permits.join(permit),
            None => permits = Some(permit),
        }
        callers.push(answer);
    }
    let Some(permits) = permits else { return };
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    call_sizes.observe(callers.len() as f64);
    let within = pool.command_timeout();
    let mut reply: Result<Vec<Value>, PoolError> = call.run_with_permit(pool, &permits, within).await;
    drop(permits);
    if let Ok(replies) = &mut reply
        && replies.len() == callers.len() + 1
    {
        observe_head(audit, replies.pop());
    }
    let answers: Vec<Result<RawReply, PoolError>> = match reply {
        Ok(replies) if replies.is_empty() => callers.iter().map(|_| Ok(None)).collect(),
        Ok(replies) if replies.len() == callers.len() => {
            replies.into_iter().map(|reply| Ok(Some(reply))).collect()
        }
        Ok(replies) => {
            let error = malformed(&format!("{} replies to {} scans", replies.len(), callers.len()));
            callers.iter().map(|_| Err(error.clone())).collect()
        }
        Err(error) => callers.iter().map(|_| Err(error.clone())).collect(),
    };
    for (caller, answer) in callers.into_iter().zip(answers) {
        // If the caller has left, nobody reads the answer, although the scan was counted.
        drop(caller.send(answer));
    }
}
