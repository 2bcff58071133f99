//! Writes all changes of some source files into them, each behind a number that a test run can switch on.
//!
//! `cargo mutants` builds a crate anew for each change, which takes hours. Here `a < b` becomes
//! `if crate::changed(7) { a == b } else if crate::changed(8) { a > b } … else { a < b }`, so that one build
//! holds them all, and the environment variable `CHANGE` says which of them a process lives with. The changes
//! are those of `cargo mutants`, less what stands in constants, types, `const fn`s and macros.
//!
//! `conet-mutate SRC LIST FILE...` changes `SRC/FILE...` and `SRC/lib.rs` in place and writes numbers and
//! changes to `LIST`.

mod bodies;

use std::path::Path;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprConst, ExprMatch, ExprRepeat, ExprStruct,
    GenericArgument, ImplItem, Item, Pat, Signature, Type, UnOp, parse_quote,
};

/// What tells a process which change it lives with; goes to the end of the crate's `lib.rs`.
const SWITCH: &str = r#"
/// Whether the process lives with this change.
pub(crate) fn changed(number: u32) -> bool {
    static CHANGE: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| {
        let change = std::env::var("CHANGE").ok();
        change.and_then(|number| number.parse().ok()).unwrap_or(0)
    });
    *CHANGE == number
}
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(list)) = (arguments.next(), arguments.next()) else {
        return Err("conet-mutate SRC LIST FILE...".into());
    };
    let source = Path::new(&source);
    let mut changes = Changes::default();
    for file in arguments {
        let path = source.join(&file);
        let mut syntax = syn::parse_file(&std::fs::read_to_string(&path)?)?;
        changes.file = file;
        changes.visit_file_mut(&mut syntax);
        std::fs::write(&path, syntax.to_token_stream().to_string())?;
    }
    let lib = source.join("lib.rs");
    let text = std::fs::read_to_string(&lib)?;
    let allowed = "#![allow(warnings, arithmetic_overflow, unconditional_panic)]\n";
    std::fs::write(&lib, [allowed, &text, SWITCH].concat())?;
    std::fs::write(list, changes.lines.join("\n") + "\n")?;
    Ok(())
}

/// The changes so far, and where the next ones are.
#[derive(Default)]
struct Changes {
    file: String,
    functions: Vec<String>,
    lines: Vec<String>,
}

impl Changes {
    /// Names a change and gives it a number, from 1.
    fn name(&mut self, at: Span, change: &str) -> u32 {
        let number = self.lines.len() + 1;
        let (file, place) = (&self.file, at.start());
        let within = self.functions.last().map(|name| format!(" in {name}"));
        self.lines.push(format!(
            "{number}\t{file}:{}:{}: {change}{}",
            place.line,
            place.column + 1,
            within.unwrap_or_default()
        ));
        number as u32
    }

    fn function(&mut self, name: String, signature: &Signature, block: &mut Block) {
        if signature.constness.is_some() {
            return;
        }
        let at = block.span();
        self.functions.push(name);
        self.visit_block_mut(block);
        let mut statements = Vec::new();
        for value in bodies::instead_of(&signature.output) {
            let number = self.name(
                at,
                &format!("replace body with {}", value.to_token_stream()),
            );
            statements.push(parse_quote!(if crate::changed(#number) { return #value; }));
        }
        self.functions.pop();
        statements.append(&mut block.stmts);
        block.stmts = statements;
    }

    fn operator(&mut self, binary: &ExprBinary) -> Option<Expr> {
        if holds_let(&binary.left) || holds_let(&binary.right) {
            return None;
        }
        let (left, operator, right) = (&binary.left, &binary.op, &binary.right);
        let mut tried = TokenStream::new();
        for other in others(operator) {
            let was = operator.to_token_stream();
            let number = self.name(operator.span(), &format!("replace {was} with {other}"));
            let other: BinOp = syn::parse_str(other).ok()?;
            tried.extend(quote!(if crate::changed(#number) { (#left) #other (#right) } else));
        }
        (!tried.is_empty()).then(|| parse_quote!((#tried { (#left) #operator (#right) })))
    }

    /// A field that is left out takes the value of the struct's base.
    fn fields(&mut self, all: &ExprStruct) -> Expr {
        let mut tried = TokenStream::new();
        let mut all = all.clone();
        if !all.fields.trailing_punct() {
            all.fields.push_punct(Default::default());
        }
        for left_out in 0..all.fields.len() {
            let mut fewer = all.clone();
            fewer.fields = Default::default();
            for (index, field) in all.fields.iter().enumerate() {
                if index != left_out {
                    fewer.fields.push(field.clone());
                    fewer.fields.push_punct(Default::default());
                }
            }
            let field = &all.fields[left_out];
            let member = field.member.to_token_stream();
            let number = self.name(field.span(), &format!("delete field {member}"));
            tried.extend(quote!(if crate::changed(#number) { #fewer } else));
        }
        parse_quote!((#tried { #all }))
    }

    /// `at` is where the guard is or, without one, the pattern.
    fn arm(&mut self, arm: &mut Arm, at: Span, others_follow: bool) {
        let guard = match &arm.guard {
            Some((_, guard)) if holds_let(guard) => return,
            Some((_, guard)) => {
                let yes = self.name(at, "replace match guard with true");
                let no = self.name(at, "replace match guard with false");
                parse_quote!((crate::changed(#yes) || (!crate::changed(#no) && (#guard))))
            }
            None if others_follow => {
                let pattern = arm.pat.to_token_stream();
                let number = self.name(at, &format!("delete match arm {pattern}"));
                parse_quote!(!crate::changed(#number))
            }
            None => return,
        };
        arm.guard = Some((Default::default(), Box::new(guard)));
    }
}

impl VisitMut for Changes {
    fn visit_item_mut(&mut self, item: &mut Item) {
        match item {
            Item::Fn(function) if !is_test(&function.attrs) => {
                let name = function.sig.ident.to_string();
                self.function(name, &function.sig, &mut function.block);
            }
            Item::Impl(of) => {
                let shown = of
                    .trait_
                    .as_ref()
                    .and_then(|(_, path, _)| path.segments.last());
                // What is changed in a text for people is no matter of safety.
                if shown.is_some_and(|last| last.ident == "Debug" || last.ident == "Display") {
                    return;
                }
                let name = of.self_ty.to_token_stream().to_string().replace(' ', "");
                for item in &mut of.items {
                    if let ImplItem::Fn(method) = item {
                        let name = format!("{name}::{}", method.sig.ident);
                        self.function(name, &method.sig, &mut method.block);
                    }
                }
            }
            _ => {}
        }
    }

    // What must be known when it is compiled can't be switched.
    fn visit_type_mut(&mut self, _: &mut Type) {}
    fn visit_pat_mut(&mut self, _: &mut Pat) {}
    fn visit_generic_argument_mut(&mut self, _: &mut GenericArgument) {}
    fn visit_expr_const_mut(&mut self, _: &mut ExprConst) {}
    fn visit_expr_repeat_mut(&mut self, repeat: &mut ExprRepeat) {
        self.visit_expr_mut(&mut repeat.expr);
    }

    fn visit_expr_match_mut(&mut self, expression: &mut ExprMatch) {
        // Where they are is lost once what is inside has been rewritten.
        let place = |arm: &Arm| match &arm.guard {
            Some((_, guard)) => guard.span(),
            None => arm.pat.span(),
        };
        let places: Vec<Span> = expression.arms.iter().map(place).collect();
        visit_mut::visit_expr_match_mut(self, expression);
        let last = expression.arms.len() - 1;
        let takes_all = expression.arms.last().is_some_and(takes_all);
        for (index, (arm, at)) in expression.arms.iter_mut().zip(places).enumerate() {
            self.arm(arm, at, takes_all && index < last);
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        visit_mut::visit_expr_mut(self, expression);
        match expression {
            Expr::Binary(binary) => {
                if let Some(changed) = self.operator(binary) {
                    *expression = changed;
                }
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) && !holds_let(&unary.expr) => {
                let of = &unary.expr;
                let number = self.name(unary.op.span(), "delete !");
                *expression = parse_quote!((if crate::changed(#number) { #of } else { !#of }));
            }
            Expr::Struct(all) if all.rest.is_some() && !all.fields.is_empty() => {
                *expression = self.fields(all);
            }
            _ => {}
        }
    }
}

/// What each operator is replaced with.
fn others(operator: &BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) | BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">"],
        BinOp::Ge(_) => &["<"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOrAssign(_) => &["&="],
        _ => &[],
    }
}

/// Whether an arm matches whatever the ones before it leave.
fn takes_all(arm: &Arm) -> bool {
    let by_pattern = match &arm.pat {
        Pat::Wild(_) => true,
        // A name in small letters is a binding, not a constant or variant.
        Pat::Ident(name) => {
            name.subpat.is_none() && !name.ident.to_string().contains(char::is_uppercase)
        }
        _ => false,
    };
    by_pattern && arm.guard.is_none()
}

/// Whether a condition binds names, so that it can't stand within another expression.
fn holds_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => holds_let(&binary.left) || holds_let(&binary.right),
        Expr::Paren(inner) => holds_let(&inner.expr),
        Expr::Unary(unary) => holds_let(&unary.expr),
        _ => false,
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("test"))
}
