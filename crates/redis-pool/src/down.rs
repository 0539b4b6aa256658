//! The reason why a connection is down.

use std::sync::Arc;

use crate::error::refuses_writes;

/// Why a connection is down.
#[derive(Debug, Clone)]
pub(crate) struct Down {
    /// The last error.
    pub(crate) why: Arc<str>,
    cause: Cause,
}

#[derive(Debug, Clone, Copy)]
enum Cause {
    Broken,
    /// The server can be reached, and shows by this code that it is not the one to work with.
    Refused(&'static str),
    /// Another server is the one to work with.
    Replaced,
}

impl Down {
    pub(crate) fn broken(why: impl Into<Arc<str>>) -> Self {
        Self { why: why.into(), cause: Cause::Broken }
    }

    pub(crate) fn refused(code: &'static str) -> Self {
        Self { why: format!("the server answered {code}").into(), cause: Cause::Refused(code) }
    }

    pub(crate) fn replica() -> Self {
        Self { why: "READONLY: the server is a replica".into(), cause: Cause::Refused("READONLY") }
    }

    pub(crate) fn replaced() -> Self {
        Self { why: "another server has taken over".into(), cause: Cause::Replaced }
    }

    pub(crate) fn code(&self) -> Option<&'static str> {
        if let Cause::Refused(code) = self.cause { Some(code) } else { None }
    }

    /// Whether the name now leads to another server, which all clients of the old one notice at once.
    pub(crate) fn is_failover(&self) -> bool {
        !matches!(self.cause, Cause::Broken)
    }

    /// Whether it is logged elsewhere: the pool logs refused writes and a new server once.
    pub(crate) fn is_logged(&self) -> bool {
        match self.cause {
            Cause::Broken => false,
            Cause::Refused(code) => refuses_writes(code),
            Cause::Replaced => true,
        }
    }
}
