//! `GET /v1/region`: the state and the limits of the region.

use ambient::from_unix_millis;
use ambient::rfc3339;
use axum::Json;
use axum::extract::State;
use problems::ApiError;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::handlers::problems::LimiterErrors;
use crate::state::AppState;

/// A region of the rate limit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RegionAnswer {
    /// The region's name.
    #[schema(example = "default")]
    region: String,
    /// When the limiter Redis first held the region's birth record; null before the first scan.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    born_at: Option<OffsetDateTime>,
    /// Whole seconds since `born_at`.
    age_s: u64,
    /// `cold` or `warm`.
    #[schema(example = "warm")]
    state: &'static str,
    /// The share of the full limits that is in force now.
    #[schema(example = 1.0)]
    factor: f64,
    /// The limits in force.
    limits: Vec<LimitAnswer>,
}

/// One limit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitAnswer {
    /// The dimension: `ip`, the client's address; `key`, a partner's key.
    #[schema(example = "ip")]
    name: &'static str,
    /// Requests per window in force now.
    #[schema(example = 100)]
    limit: u32,
    /// Requests per window once the region is warm.
    #[schema(example = 100)]
    full_limit: u32,
    /// The window in seconds.
    #[schema(example = 60)]
    window_s: u32,
}

/// Shows whether the region is cold or warm, and its limits.
#[utoipa::path(
    get, path = "/v1/region", tag = "operation", operation_id = "show_region", security(()),
    responses(
        (status = 200, description = "The region", body = RegionAnswer),
        LimiterErrors,
    )
)]
pub(crate) async fn region(State(state): State<AppState>) -> Result<Json<RegionAnswer>, ApiError> {
    if let Some(deployment) = state.deployment.seen() {
        state.limits.note_deployment(deployment);
    }
    let limiter = state.limits.regional();
    let info = limiter.region_info(&state.limits.quotas()).await.map_err(ApiError::from)?;
    let limits = info.limits.iter().map(|limit| LimitAnswer {
        name: limit.name.as_str(),
        limit: limit.limit,
        full_limit: limit.full,
        window_s: 60,
    });
    Ok(Json(RegionAnswer {
        region: limiter.region().as_str().to_owned(),
        born_at: info.born_at_ms.map(from_unix_millis),
        age_s: info.age.as_secs(),
        state: if info.cold { "cold" } else { "warm" },
        factor: info.factor,
        limits: limits.collect(),
    }))
}
