//! JSON-RPC errors and where they come from.
//!
//! Codes: JSON-RPC 2.0 section 5.1 and EIP-1474; 3 is geth's for a revert, with the
//! revert's data, as wallets and libraries expect it.

use crate::engine::{CallError, EngineError, FilterError, QueryError, SubmitError};
use serde::Serialize;
use std::error::Error;

/// The error object of a JSON-RPC answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RpcError {
    pub(crate) code: i32,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
}

impl RpcError {
    const PARSE: i32 = -32_700;
    const INVALID_REQUEST: i32 = -32_600;
    const METHOD_NOT_FOUND: i32 = -32_601;
    const INVALID_PARAMS: i32 = -32_602;
    const INTERNAL: i32 = -32_603;
    const SERVER: i32 = -32_000;
    const RESPONSE_TOO_LARGE: i32 = -32_003;
    const LIMIT_EXCEEDED: i32 = -32_005;
    const REVERTED: i32 = 3;

    fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub(crate) fn parse() -> Self {
        Self::new(Self::PARSE, "parse error")
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_REQUEST, message)
    }

    pub(crate) fn method_not_found(method: &str) -> Self {
        let message = format!("the method {method} does not exist/is not available");
        Self::new(Self::METHOD_NOT_FOUND, message)
    }

    pub(crate) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_PARAMS, message)
    }

    pub(crate) fn response_too_large() -> Self {
        Self::new(Self::RESPONSE_TOO_LARGE, "response too large")
    }

    /// Reports a failure of ours: the log gets the whole chain of causes, the caller the first.
    pub(crate) fn internal(error: &dyn Error) -> Self {
        tracing::error!(target: "chain", error = %causes(error), "a request failed");
        Self::new(Self::INTERNAL, format!("internal error: {error}"))
    }
}

fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl From<QueryError> for RpcError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::InvalidRange => Self::invalid_params(error.to_string()),
            QueryError::RangeTooLong | QueryError::TooManyLogs => {
                Self::new(Self::LIMIT_EXCEEDED, error.to_string())
            }
            QueryError::UnknownBlock | QueryError::StateNotKept { .. } => {
                Self::new(Self::SERVER, error.to_string())
            }
            QueryError::Call(error) => error.into(),
            QueryError::Store(error) => Self::internal(&error),
        }
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Reverted(data) => Self {
                code: Self::REVERTED,
                message,
                data: Some(data.to_string()),
            },
            CallError::Machine(_) => Self::internal(&error),
            CallError::Halted(_)
            | CallError::Refused(_)
            | CallError::AllowanceTooLow(_)
            | CallError::InsufficientFunds { .. } => Self::new(Self::SERVER, message),
        }
    }
}

impl From<SubmitError> for RpcError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Transaction(error) => Self::new(Self::SERVER, error.to_string()),
            SubmitError::Engine(error) => error.into(),
        }
    }
}

impl From<EngineError> for RpcError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ReorgTooDeep { .. } => Self::invalid_params(error.to_string()),
            error => Self::internal(&error),
        }
    }
}

impl From<FilterError> for RpcError {
    fn from(error: FilterError) -> Self {
        match error {
            FilterError::NotFound => Self::new(Self::SERVER, error.to_string()),
            FilterError::TooMany => Self::new(Self::LIMIT_EXCEEDED, error.to_string()),
            FilterError::Query(error) => error.into(),
        }
    }
}
