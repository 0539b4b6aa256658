//! How an operation fails. The kinds are told apart by what happened, never by searching a message.

use std::time::Duration;

/// An operation that got no usable reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PoolError {
    /// No permit came free in time: this process has as much under way with this Redis as it allows itself.
    #[error("no permit came free within {} ms", waited.as_millis())]
    Overloaded {
        /// How long the caller waited; zero where the queue of waiters was full already.
        waited: Duration,
    },
    /// Redis is away, too slow, or in a state in which it serves nobody.
    #[error("redis is unavailable: {reason}")]
    Unavailable {
        /// What showed it.
        reason: UnavailableReason,
        /// When trying again may make sense.
        retry_after: Duration,
    },
    /// Redis answered that our own command or script is at fault.
    #[error("redis refused a command of ours: {code} {message}")]
    Server {
        /// The first word of the reply, e.g. `ERR` or `WRONGTYPE`.
        code: String,
        /// The rest of the reply.
        message: String,
    },
    /// The reply was read but has another shape than the caller expects.
    #[error("unexpected reply from redis: {what}")]
    Reply {
        /// What was wrong with it.
        what: String,
    },
}

/// Why Redis counts as unavailable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UnavailableReason {
    /// The circuit breaker let nothing through.
    #[error("its circuit breaker is open")]
    BreakerOpen,
    /// No connection could be made within the deadline.
    #[error("not connected ({0})")]
    NotConnected(String),
    /// No reply within the deadline; the command may have been carried out.
    #[error("no reply within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection broke while the reply was owed; the command may have been carried out.
    #[error("the connection broke ({0})")]
    Broken(String),
    /// Redis answered `LOADING`, `READONLY`, `OOM`, `MISCONF`, `NOREPLICAS`, `NOPERM`, `CLUSTERDOWN`, `NOAUTH` or the like.
    #[error("it answered {0}")]
    Refusing(&'static str),
}

impl PoolError {
    /// Whether the command may have reached Redis and been carried out although no reply was read.
    #[must_use]
    pub fn maybe_applied(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { reason: UnavailableReason::Timeout(_) | UnavailableReason::Broken(_), .. }
        )
    }

    /// The fault of a server that answered with an error: what it says about Redis, or about our command.
    pub(crate) fn from_server(code: &str, detail: &str, retry_after: Duration) -> Self {
        match refusing_code(code, detail) {
            Some(code) => Self::Unavailable { reason: UnavailableReason::Refusing(code), retry_after },
            None => Self::Server { code: code.to_owned(), message: detail.to_owned() },
        }
    }

    /// The code of a write that was refused by a Redis which may go on reading.
    pub(crate) fn refused_write(&self) -> Option<&'static str> {
        self.code().filter(|code| refuses_writes(code))
    }

    /// The code of a server that is not, or no longer, the one to ask: the next connection may lead to another.
    pub(crate) fn not_the_primary(&self) -> Option<&'static str> {
        self.code().filter(|code| NOT_THE_PRIMARY.contains(code))
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { reason: UnavailableReason::Refusing(code), .. } => Some(code),
            _ => None,
        }
    }

    /// What a metric calls this error; one of few words.
    pub(crate) fn label(&self) -> &'static str {
        const OURS: [&str; 4] = ["ERR", "WRONGTYPE", "NOSCRIPT", "NOPERM"];
        match self {
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable { reason, .. } => match reason {
                UnavailableReason::Refusing(code) => code,
                UnavailableReason::BreakerOpen => "breaker_open",
                UnavailableReason::NotConnected(_) => "not_connected",
                UnavailableReason::Timeout(_) => "timeout",
                UnavailableReason::Broken(_) => "connection_broken",
            },
            Self::Server { code, .. } => OURS.iter().find(|known| *known == code).unwrap_or(&"other"),
            Self::Reply { .. } => "unexpected_reply",
        }
    }

    /// Whether this outcome counts as a failure of Redis for the circuit breaker.
    pub(crate) fn is_redis_failing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether Redis does not hold the script that was called: nothing has run.
    pub(crate) fn is_unknown_script(&self) -> bool {
        matches!(self, Self::Server { code, .. } if code == "NOSCRIPT")
    }
}

/// Whether `code` refuses writes, and perhaps nothing else.
pub(crate) fn refuses_writes(code: &str) -> bool {
    REFUSES_WRITES.contains(&code)
}

/// Refused writes: out of memory, a replica, too few replicas, no snapshot or append-only file, no right to.
const REFUSES_WRITES: [&str; 5] = ["OOM", "READONLY", "NOREPLICAS", "MISCONF", "NOPERM"];

/// A replica (`READONLY`; `MASTERDOWN` where it has lost its primary; `LOADING` while it takes over the primary's data), and a
/// primary that was cut off from its replicas, one of which may have been promoted. `OOM`, `MISCONF` and `NOPERM` say nothing about
/// another server.
const NOT_THE_PRIMARY: [&str; 4] = ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS"];

/// The state in which Redis serves nobody, if the reply names one. Redis 6.2 wraps the code of a command that failed inside a
/// script in `ERR Error running script …: -CODE …`; Redis 7 passes it on as it is.
fn refusing_code(code: &str, detail: &str) -> Option<&'static str> {
    const CODES: [&str; 12] = [
        "LOADING",
        "READONLY",
        "OOM",
        "MISCONF",
        "CLUSTERDOWN",
        "MASTERDOWN",
        "BUSY",
        "NOREPLICAS",
        "UNKILLABLE",
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
    ];
    if let Some(known) = CODES.iter().find(|known| **known == code) {
        return Some(known);
    }
    // Of Redis 7.0 a script gets no NOPERM but this text, whether the command or a key is forbidden.
    if code == "ERR" && detail.starts_with("The user executing the script can't ") {
        return Some("NOPERM");
    }
    if code != "ERR" || !detail.contains("running script") {
        return None;
    }
    CODES
        .iter()
        .find(|known| detail.split_whitespace().any(|word| word.strip_prefix('-') == Some(**known)))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: &str, detail: &str) -> Option<&'static str> {
        match PoolError::from_server(code, detail, Duration::ZERO) {
            PoolError::Unavailable { reason: UnavailableReason::Refusing(code), .. } => Some(code),
            _ => None,
        }
    }

    #[test]
    fn a_redis_that_serves_nobody_is_told_from_a_fault_of_ours() {
        assert_eq!(kind("LOADING", "Redis is loading the dataset in memory"), Some("LOADING"));
        assert_eq!(kind("OOM", "command not allowed when used memory > 'maxmemory'."), Some("OOM"));
        assert_eq!(kind("NOAUTH", "Authentication required."), Some("NOAUTH"));
        assert_eq!(kind("NOPERM", "this user has no permissions to run the 'set' command"), Some("NOPERM"));
        assert_eq!(kind("WRONGTYPE", "Operation against a key holding the wrong kind of value"), None);
        assert_eq!(kind("ERR", "unknown command 'OOM'"), None);
    }

    #[test]
    fn a_code_wrapped_by_an_older_redis_is_found() {
        let wrapped = "Error running script (call to f_ab): @user_script:1: -READONLY You can't write against a read only replica.";
        assert_eq!(kind("ERR", wrapped), Some("READONLY"));
        let forbidden = "The user executing the script can't run this command or subcommand script: ab, on @user_script:1.";
        assert_eq!(kind("ERR", forbidden), Some("NOPERM"));
        assert_eq!(
            kind("ERR", "Error running script (call to f_ab): @user_script:1: attempt to index a nil value"),
            None
        );
    }

    #[test]
    fn only_a_lost_reply_leaves_it_open_whether_the_command_was_carried_out() {
        let unavailable = |reason| PoolError::Unavailable { reason, retry_after: Duration::ZERO };
        assert!(unavailable(UnavailableReason::Timeout(Duration::ZERO)).maybe_applied());
        assert!(unavailable(UnavailableReason::Broken(String::new())).maybe_applied());
        assert!(!unavailable(UnavailableReason::BreakerOpen).maybe_applied());
        assert!(!unavailable(UnavailableReason::NotConnected(String::new())).maybe_applied());
        assert!(!PoolError::Overloaded { waited: Duration::ZERO }.maybe_applied());
    }
}
