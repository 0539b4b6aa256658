//! What a caller says happened, before it is stamped.

use crate::event::details::Details;
use std::net::IpAddr;

/// What a caller says happened. [`crate::Event::new`] stamps it with a time, an id and a nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The tenant that the event belongs to.
    pub tenant: String,
    /// Who did it, for example `key/<id>`.
    pub actor: String,
    /// What was done, for example `batch.created`.
    pub action: String,
    /// What it was done to: `<kind>/<public id>`.
    pub resource: String,
    /// The id of the request that did it.
    pub request_id: String,
    /// The client address of that request.
    pub ip: Option<IpAddr>,
    /// Further facts, specific to the action.
    pub details: Details,
}

#[cfg(test)]
impl NewEvent {
    /// Makes an event for tests, which change the members they are about.
    pub(crate) fn sample() -> Self {
        Self {
            tenant: "default".into(),
            actor: "key/bootstrap".into(),
            action: "product.created".into(),
            resource: "product/1".into(),
            request_id: "req-1".into(),
            ip: None,
            details: Details::new(),
        }
    }
}
