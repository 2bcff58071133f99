//! What gas costs, cost and may cost.

use super::{Answer, Engine, Params, RpcError, result};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U128;

/// The tip that is suggested, in wei per gas; where blocks are not full any is enough.
pub(super) const SUGGESTED_TIP: u64 = 1_000_000_000;
/// Percentiles that one fee history may ask for, as in geth.
const MAX_PERCENTILES: usize = 100;

pub(super) fn gas_price(engine: &Engine, params: Params) -> Answer {
    params.finish()?;
    let price = u128::from(engine.next_base_fee()).saturating_add(SUGGESTED_TIP.into());
    result(&U128::from(price))
}

pub(super) fn history(engine: &Engine, mut params: Params) -> Answer {
    let count = params
        .quantity()?
        .ok_or_else(|| RpcError::invalid_params("missing value for required argument 0"))?;
    let newest: BlockNumberOrTag = params.required()?;
    let percentiles: Vec<f64> = params.optional()?.unwrap_or_default();
    params.finish()?;
    let ascending = percentiles.is_sorted();
    let in_range = percentiles.iter().all(|p| (0.0..=100.0).contains(p));
    if percentiles.len() > MAX_PERCENTILES || !ascending || !in_range {
        return Err(RpcError::invalid_params(format!(
            "invalid reward percentile: at most {MAX_PERCENTILES} from 0 to 100, ascending"
        )));
    }
    result(&engine.fee_history(count, newest, &percentiles)?)
}
