//! Positional parameters, parsed once and checked to be all used.

use super::RpcError;
use alloy_primitives::U256;
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

/// Hexadecimal digits of a 32-byte word.
const WORD_DIGITS: usize = 64;

/// The parameters that have not been taken yet.
pub(crate) struct Params {
    values: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Params {
    /// Reads the `params` of a request; absent or null means none.
    pub(crate) fn parse(raw: Option<&RawValue>) -> Result<Self, RpcError> {
        let values: Option<Vec<Value>> = match raw {
            None => None,
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| RpcError::invalid_params("non-array args"))?,
        };
        Ok(Self {
            values: values.unwrap_or_default().into_iter(),
            taken: 0,
        })
    }

    /// Takes a parameter that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self) -> Result<T, RpcError> {
        let at = self.taken;
        self.optional()?.ok_or_else(|| missing(at))
    }

    /// Takes a parameter that may be absent or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RpcError> {
        let at = self.taken;
        match self.next() {
            None => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| invalid(at, &error.to_string())),
        }
    }

    /// Takes a number that is written in hexadecimal, or as a JSON number.
    pub(crate) fn quantity(&mut self) -> Result<Option<u64>, RpcError> {
        let at = self.taken;
        let value = match self.next() {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text
                .strip_prefix("0x")
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|digits| u64::from_str_radix(digits, 16).ok()),
            Some(_) => None,
        };
        value
            .map(Some)
            .ok_or_else(|| invalid(at, "not a 64-bit quantity"))
    }

    /// Takes a word of up to 32 bytes in hexadecimal, leading zeros or not.
    pub(crate) fn word(&mut self) -> Result<U256, RpcError> {
        let at = self.taken;
        let text: String = self.required()?;
        text.strip_prefix("0x")
            .filter(|digits| {
                (1..=WORD_DIGITS).contains(&digits.len())
                    && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
            .and_then(|digits| U256::from_str_radix(digits, 16).ok())
            .ok_or_else(|| invalid(at, "not a word of up to 32 bytes in hexadecimal"))
    }

    /// Refuses parameters that nobody took.
    pub(crate) fn finish(self) -> Result<(), RpcError> {
        if self.values.len() == 0 {
            Ok(())
        } else {
            Err(RpcError::invalid_params(format!(
                "too many arguments, want at most {}",
                self.taken
            )))
        }
    }

    fn next(&mut self) -> Option<Value> {
        let value = self.values.next();
        self.taken = self.taken.saturating_add(1);
        value.filter(|value| !value.is_null())
    }
}

fn missing(at: usize) -> RpcError {
    RpcError::invalid_params(format!("missing value for required argument {at}"))
}

fn invalid(at: usize, why: &str) -> RpcError {
    RpcError::invalid_params(format!("invalid argument {at}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;

    fn params(json: &str) -> Params {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        Params::parse(Some(&raw)).unwrap()
    }

    #[test]
    fn params_missing_wrong_and_left_over_are_named() {
        let message = |error: RpcError| (error.code, error.message);
        assert_eq!(
            message(params("[]").required::<Address>().unwrap_err()),
            (-32602, "missing value for required argument 0".to_owned())
        );
        assert!(
            params(r#"["0x12"]"#)
                .required::<Address>()
                .unwrap_err()
                .message
                .starts_with("invalid argument 0: ")
        );
        let mut left_over = params("[true, 1]");
        left_over.required::<bool>().unwrap();
        assert_eq!(
            message(left_over.finish().unwrap_err()).1,
            "too many arguments, want at most 1"
        );
        assert!(Params::parse(Some(&RawValue::from_string("{}".to_owned()).unwrap())).is_err());
    }

    #[test]
    fn params_quantity_takes_hex_and_number_and_nothing_else() {
        for good in [r#"["0xa"]"#, "[10]", r#"["0x0a"]"#] {
            assert_eq!(params(good).quantity(), Ok(Some(10)));
        }
        for bad in [
            r#"["10"]"#,
            "[-1]",
            "[1.5]",
            r#"["0x+a"]"#,
            r#"["0x1ffffffffffffffff"]"#,
            r#"["0x"]"#,
        ] {
            assert!(params(bad).quantity().is_err(), "{bad}");
        }
    }
}
