//! Guards every route below `/v1` that needs a key: authenticates the caller, spends its quota and checks its
//! scope.

use std::time::Duration;

use access::Scope;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_edge::{HttpError, PeerAddr, QuotaStatus, limit_subject, rate_limit_headers};
use problems::ApiError;
use rate_limiter::Status;

use crate::domain::identity::Caller;
use crate::domain::limits::{Spent, Use};
use crate::handlers::caller::{Operator, authenticate};
use crate::state::AppState;

/// The window of every quota.
const WINDOW: Duration = Duration::from_secs(60);

/// The parameters of a guard: the state, and the scope that a key needs.
pub(crate) type Guard = (AppState, Scope);

/// The middleware. It adds the [`Caller`] to the extensions of an admitted request.
pub(crate) async fn guard(
    State((state, scope)): State<Guard>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let caller = match authenticate(&mut parts, &state).await {
        Ok(caller) => caller,
        Err(error @ ApiError::Http(HttpError::Unauthenticated(_))) => {
            return Ok(unauthenticated(error, &parts, &state).await);
        }
        Err(other) => return Err(other),
    };
    if spans::continue_trace() {
        // From the next poll on, the request runs within its span.
        tokio::task::yield_now().await;
    }
    if parts.extensions.get::<Operator>().is_some() {
        return admit(scope, caller, Request::from_parts(parts, body), next).await;
    }
    let spent = state.limits.spend(&caller.principal, quota_use_of(&parts.method)).await;
    let admitted = match spent.denied {
        Some(retry_after) => Err(ApiError::rate_limited(retry_after)),
        None => admit(scope, caller, Request::from_parts(parts, body), next).await,
    };
    Ok(with_quotas(&spent, admitted.into_response()))
}

async fn admit(scope: Scope, caller: Caller, mut request: Request, next: Next) -> Result<Response, ApiError> {
    check_scope(&caller, scope)?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Answers a request without a valid key: 401, or 429 once its address has used up the quota of failed
/// authentications.
async fn unauthenticated(error: ApiError, parts: &Parts, state: &AppState) -> Response {
    let Some(peer) = parts.extensions.get::<PeerAddr>() else { return error.into_response() };
    let address = state.proxies.client_address(peer.0.ip(), &parts.headers);
    let spent = state.limits.spend_failure(&limit_subject(address)).await;
    let error = spent.denied.map_or(error, ApiError::rate_limited);
    with_quotas(&spent, error.into_response())
}

fn quota_use_of(method: &Method) -> Use {
    if matches!(*method, Method::GET | Method::HEAD) { Use::Reads } else { Use::Writes }
}

fn with_quotas(spent: &Spent, mut response: Response) -> Response {
    let quotas: Vec<QuotaStatus<'_>> = spent.quotas.iter().map(quota).collect();
    if let Some(headers) = rate_limit_headers(&quotas) {
        response.headers_mut().extend(headers);
    }
    response
}

fn quota(status: &Status) -> QuotaStatus<'_> {
    QuotaStatus {
        name: status.name,
        limit: status.limit,
        remaining: status.remaining,
        reset_after: status.reset_after.unwrap_or_default(),
        window: WINDOW,
    }
}

fn check_scope(caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    // `admin` includes `audit:read`: an operator may read the whole chain.
    if caller.has(scope) || (scope == Scope::AuditRead && caller.has(Scope::Admin)) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("this needs a key with the scope {scope}")))
}
