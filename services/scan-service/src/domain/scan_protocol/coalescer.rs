//! Scans that come at the same time travel to Redis together.
//!
//! Each scan takes a permit of its own and waits in a queue. A few workers take whatever waits, at most [`GROUP`], and send it as one
//! script call; while they are busy the next group gathers by itself, so a lone scan waits for nobody and a crowd pays for one
//! call what each would have paid. Inside the script the scans run one after the other.
//!
//! How it fails: a group without a reply fails all its scans with the same error. A scan that has waited a command timeout since it
//! got its permit is answered "timed out", wherever it is; one whose caller left before it was sent is not sent. The queue cannot outgrow the permits.

use std::sync::{Arc, LazyLock};

use access::{ACCESS_LUA, KeyDigest, KeyId};
use audit_chain::{AuditLog, HEAD_LUA};
use catalog::keys;
use rate_limiter::LUA_LIB;
use redis::Value;
use redis_pool::{Error, Invocation, PoolPermit, Reason, Script};
use service_kit::durable::Durable;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::domain::admission::Credential;
use crate::domain::limits::{Limits, Subject};
use crate::domain::scan_protocol::TAG_SCAN_LUA;
use crate::domain::scan_protocol::look::Look;

/// Scans in one call at most: some 0.5 ms of Redis's time.
const GROUP: usize = 32;
/// Calls under way at once: one that Redis works on, one that is on its way.
const WORKERS: usize = 2;

static LIMITED_SCAN: LazyLock<Script> = LazyLock::new(|| {
    let main = include_str!("lua/limited_scan.lua");
    Script::new("limited_scan", [LUA_LIB, TAG_SCAN_LUA, HEAD_LUA, ACCESS_LUA, main].concat())
});

/// What is shown besides the address, as the script takes it.
#[derive(Debug)]
pub(crate) enum Shown {
    Nothing,
    /// No key at all.
    Unusable,
    Key(KeyId, KeyDigest),
}

impl Shown {
    pub(crate) fn of(credential: &Credential) -> Self {
        match credential {
            Credential::None => Self::Nothing,
            Credential::Unusable => Self::Unusable,
            Credential::Key(key) => Self::Key(*key.id(), *key.digest()),
        }
    }
}

/// One scan to be limited and counted.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) look: Look,
    pub(crate) address: String,
    pub(crate) shown: Shown,
}

/// What the script replied to one scan; nothing when the state is lost.
pub(crate) type Answer = Option<Value>;

struct Waiting {
    request: Request,
    permit: PoolPermit,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// The way to Redis for scans that are limited in the same call.
pub(crate) struct Coalescer {
    durable: Arc<Durable>,
    queue: mpsc::UnboundedSender<Waiting>,
}

impl Coalescer {
    /// Starts the workers; they end with the last sender. Must be called inside a tokio runtime.
    pub(crate) fn start(durable: Arc<Durable>, limits: Arc<Limits>) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..WORKERS {
            tokio::spawn(work(Arc::clone(&waiting), Arc::clone(&durable), Arc::clone(&limits)));
        }
        Self { durable, queue }
    }

    /// Sends one scan, together with those that wait.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, Error> {
        let permit = self.durable.pool().permit().await?;
        let (answer, answered) = oneshot::channel();
        let gone = || Error::Reply { what: "the scan's worker has ended".to_owned() };
        self.queue.send(Waiting { request, permit, answer }).map_err(|_| gone())?;
        let within = self.durable.pool().command_timeout();
        match tokio::time::timeout(within, answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(Error::Unavailable { reason: Reason::Timeout(within), retry_after: within }),
        }
    }
}

async fn work(
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Waiting>>>,
    durable: Arc<Durable>,
    limits: Arc<Limits>,
) {
    loop {
        let mut group = Vec::with_capacity(GROUP);
        {
            let mut queue = queue.lock().await;
            let Some(first) = queue.recv().await else { return };
            group.push(first);
            while group.len() < GROUP {
                let Ok(next) = queue.try_recv() else { break };
                group.push(next);
            }
        }
        group.retain(|waiting| !waiting.answer.is_closed());
        send(group, &durable, &limits).await;
    }
}

async fn send(group: Vec<Waiting>, durable: &Durable, limits: &Limits) {
    // Nobody asks before a deployment was seen, and what was seen stays.
    let Some(deployment) = durable.gate().seen() else { return };
    let mut call = LIMITED_SCAN.invoke();
    call.push_key(keys::DEPLOYMENT);
    call.push_key(audit_chain::keys::HEAD);
    call.push_key(keys::MINTED);
    limits.regional().push_birth_key(&mut call);
    for Waiting { request, .. } in &group {
        push_keys(&mut call, request, limits);
    }
    call.push_arg(deployment.prefix());
    call.push_arg(least_size(durable));
    for (_, quota) in limits.quotas() {
        limits.regional().push_args(&mut call, std::iter::once(quota));
    }
    for Waiting { request, .. } in &group {
        push_args(&mut call, request);
    }
    let mut permits: Option<PoolPermit> = None;
    let mut callers = Vec::with_capacity(group.len());
    for Waiting { permit, answer, .. } in group {
        match &mut permits {
            Some(permits) => permits.join(permit),
            None => permits = Some(permit),
        }
        callers.push(answer);
    }
    let Some(permits) = permits else { return };
    let within = durable.pool().command_timeout();
    let mut reply: Result<Vec<Value>, Error> = call.run_with_permit(durable.pool(), &permits, within).await;
    drop(permits);
    if let Ok(replies) = &mut reply
        && replies.len() == callers.len() + 1
    {
        observe(durable, replies.pop());
    }
    let answers: Vec<Result<Answer, Error>> = match reply {
        Ok(replies) if replies.is_empty() => callers.iter().map(|_| Ok(None)).collect(),
        Ok(replies) if replies.len() == callers.len() => {
            replies.into_iter().map(|reply| Ok(Some(reply))).collect()
        }
        Ok(replies) => {
            let what = format!("scan: {} replies to {} scans", replies.len(), callers.len());
            callers.iter().map(|_| Err(Error::Reply { what: what.clone() })).collect()
        }
        Err(error) => callers.iter().map(|_| Err(error.clone())).collect(),
    };
    for (caller, answer) in callers.into_iter().zip(answers) {
        // A caller that has left takes no answer; its scan is counted all the same.
        drop(caller.send(answer));
    }
}

/// The fewest entries that the audit chain can have, for the scripts: an older copy of the state lacks revocations.
pub(crate) fn least_size(durable: &Durable) -> u64 {
    durable.log().map_or(0, AuditLog::least_size)
}

/// Remembers the audit head that a script found.
pub(crate) fn observe(durable: &Durable, head: Option<Value>) {
    if let (Some(Value::BulkString(head)), Some(log)) = (head, durable.log()) {
        log.observe(&head);
    }
}

/// The scan's keys, the limiter's for the address, and where a key is shown, its record and the limiter's for it.
fn push_keys(call: &mut Invocation<'_>, request: &Request, limits: &Limits) {
    let limiter = limits.regional();
    request.look.push_keys(call);
    limiter.push_state_keys(call, &limits.dimensions(Subject::Address(&request.address)));
    if let Shown::Key(id, _) = &request.shown {
        call.push_key(access::keys::key(id));
        limiter.push_state_keys(call, &limits.dimensions(Subject::Key(id)));
    }
}

/// The scan's arguments, and what is shown.
fn push_args(call: &mut Invocation<'_>, request: &Request) {
    request.look.push_args(call);
    match &request.shown {
        Shown::Nothing => call.push_arg(""),
        Shown::Unusable => call.push_arg("-"),
        Shown::Key(_, digest) => call.push_arg(digest.as_bytes()),
    }
}
