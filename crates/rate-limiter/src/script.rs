//! The scripts. Each is [`LUA_LIB`] followed by a main of its own, so all of them share one way to read and
//! write a state.

use std::sync::LazyLock;

use redis_pool::Script;

/// The limiter as Lua functions, for a script that limits and does something else in one round trip: put it
/// in front of that script's main. `lua/limiter.lua` documents `limiter_now`, `limiter_decide` and
/// `limiter_commit`.
pub const LUA_LIB: &str = include_str!("lua/limiter.lua");

pub(crate) static LIMIT: LazyLock<Script> =
    LazyLock::new(|| behind_lib("limit", include_str!("lua/limit_main.lua")));
pub(crate) static GLOBAL: LazyLock<Script> =
    LazyLock::new(|| behind_lib("global", include_str!("lua/global_main.lua")));
pub(crate) static REFUND: LazyLock<Script> =
    LazyLock::new(|| behind_lib("refund", include_str!("lua/refund_main.lua")));
pub(crate) static REGION: LazyLock<Script> =
    LazyLock::new(|| Script::new("region", include_str!("lua/region_main.lua")));

fn behind_lib(name: &'static str, main: &str) -> Script {
    Script::new(name, [LUA_LIB, main].concat())
}
