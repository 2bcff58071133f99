//! What a function returns that does nothing else.

use quote::ToTokens;
use syn::{Expr, ReturnType};

const INTEGERS: [&str; 5] = ["u8", "u16", "u32", "u64", "usize"];

/// The values that stand in for a function's body: the ones that would hide a missing check.
pub(crate) fn instead_of(output: &ReturnType) -> Vec<Expr> {
    let output = match output {
        ReturnType::Default => "()".to_owned(),
        ReturnType::Type(_, output) => output.to_token_stream().to_string().replace(' ', ""),
    };
    let values: &[&str] = match output.as_str() {
        "()" => &["()"],
        "bool" => &["true", "false"],
        "&[u8]" => &["&[]"],
        "Zeroizing<[u8;32]>" => &["Zeroizing::new([0; 32])"],
        integer if INTEGERS.contains(&integer) => &["0", "1"],
        array if array.starts_with("[u8;") => &["[0; _]", "[1; _]"],
        list if list.starts_with("Vec<") => &["vec![]"],
        option if option.starts_with("Option<") => &["None"],
        result if result.starts_with("Result<") => in_result(&result["Result<".len()..]),
        _ => &[],
    };
    let length = output.rsplit(';').next().unwrap_or_default();
    let length = length.split(']').next().unwrap_or_default();
    let parsed = values.iter().map(|value| value.replace('_', length));
    parsed
        .filter_map(|value| syn::parse_str(&value).ok())
        .collect()
}

fn in_result(output: &str) -> &'static [&'static str] {
    let integer = |name: &&str| output.starts_with(&format!("{name},"));
    match output {
        nothing if nothing.starts_with("(),") => &["Ok(())"],
        yes_or_no if yes_or_no.starts_with("bool,") => &["Ok(true)", "Ok(false)"],
        option if option.starts_with("Option<") => &["Ok(None)"],
        list if list.starts_with("Vec<") => &["Ok(vec![])"],
        array if array.starts_with("[u8;") => &["Ok([0; _])", "Ok([1; _])"],
        bytes if bytes.starts_with("&'bmut[u8],") => &["Ok(&mut [])"],
        _ if INTEGERS.iter().any(|name| integer(&name)) => &["Ok(0)", "Ok(1)"],
        _ => &[],
    }
}
