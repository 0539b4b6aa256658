//! In front of every route below `/v1` that needs a key: who asks, whether that key may, and, for a `POST` with an
//! `Idempotency-Key`, that the request is carried out once.

use access::Scope;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use http_edge::ApiError;

use crate::domain::identity::Caller;
use crate::handlers::caller::authenticate;
use crate::handlers::repeat;
use crate::state::AppState;

/// What a route is guarded with: the state, and the scope a key needs.
pub(crate) type Guard = (AppState, Scope);

/// Lets pass who may, with the [`Caller`] in the request's extensions.
pub(crate) async fn guard(
    State((state, scope)): State<Guard>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let caller = authenticate(&mut parts, &state).await?;
    may(&caller, scope)?;
    if parts.method == Method::POST
        && let Some(key) = repeat::key_of(&parts.headers)?
    {
        return repeat::carry_out_once(state, caller, key, Request::from_parts(parts, body), next).await;
    }
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn may(caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    // An operator sees the whole chain, so also the part of it that anybody with `audit:read` sees.
    if caller.has(scope) || (scope == Scope::AuditRead && caller.has(Scope::Admin)) {
        return Ok(());
    }
    Err(ApiError::Forbidden(format!("this needs a key with the scope {scope}").into()))
}
