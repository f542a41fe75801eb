//! An interpreter of those parts of DynamoDB's expressions that the store uses.
//!
//! Sources: "Condition and filter expressions, operators, and functions" and "Using
//! update expressions", AWS. A test compares it with the engine.

use std::cmp::Ordering;

use aws_sdk_dynamodb::types::AttributeValue;
use cart_associations::store::rules::Item;

/// Returns whether a condition holds for an item, or for none.
pub(super) fn holds(condition: &str, values: &Item, item: Option<&Item>) -> bool {
    let mut parser = Condition {
        tokens: tokens(condition),
        values,
        item,
    };
    let holds = parser.or();
    assert!(parser.tokens.is_empty(), "{condition}: {:?}", parser.tokens);
    holds
}

/// Applies an update expression to an item.
pub(super) fn update(item: &mut Item, expression: &str, values: &Item) {
    let mut tokens = tokens(expression);
    let mut clause = String::new();
    while let Some(token) = tokens.pop() {
        match &*token {
            "SET" | "REMOVE" => clause = token,
            "," => {}
            name if clause == "REMOVE" => {
                item.remove(name);
            }
            _ => {
                assert_eq!(tokens.pop().unwrap(), "=", "{expression}");
                let value = values[&tokens.pop().unwrap()].clone();
                item.insert(token, value);
            }
        }
    }
}

/// The tokens of an expression, the first one last.
fn tokens(expression: &str) -> Vec<String> {
    let mut spaced = expression.to_owned();
    for mark in ["(", ")", ","] {
        spaced = spaced.replace(mark, &format!(" {mark} "));
    }
    let tokens = spaced.split_whitespace().rev();
    tokens.map(str::to_owned).collect()
}

/// A condition that is evaluated while it is parsed.
struct Condition<'e> {
    /// The tokens that are left, the next one last.
    tokens: Vec<String>,
    values: &'e Item,
    item: Option<&'e Item>,
}

impl<'e> Condition<'e> {
    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.last().is_some_and(|next| next == token);
        if is_next {
            self.tokens.pop();
        }
        is_next
    }

    fn or(&mut self) -> bool {
        let mut holds = self.and();
        while self.take("OR") {
            holds |= self.and();
        }
        holds
    }

    fn and(&mut self) -> bool {
        let mut holds = self.not();
        while self.take("AND") {
            holds &= self.not();
        }
        holds
    }

    fn not(&mut self) -> bool {
        if self.take("NOT") {
            return !self.not();
        }
        self.primary()
    }

    fn primary(&mut self) -> bool {
        if self.take("(") {
            let holds = self.or();
            assert!(self.take(")"));
            return holds;
        }
        let must_exist = self.take("attribute_exists");
        if must_exist || self.take("attribute_not_exists") {
            assert!(self.take("("));
            let exists = self.operand().is_some();
            assert!(self.take(")"));
            return exists == must_exist;
        }
        let left = self.operand();
        let operator = self.tokens.pop().unwrap();
        let order = compare(left, self.operand());
        match &*operator {
            "=" => order == Some(Ordering::Equal),
            "<" => order == Some(Ordering::Less),
            "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            other => panic!("{other}"),
        }
    }

    /// A value, which must be there, or an attribute.
    fn operand(&mut self) -> Option<&'e AttributeValue> {
        let name = self.tokens.pop().unwrap();
        if name.starts_with(':') {
            return Some(&self.values[&name]);
        }
        self.item?.get(&name)
    }
}

/// Attributes of different types, and missing ones, have no order.
fn compare(left: Option<&AttributeValue>, right: Option<&AttributeValue>) -> Option<Ordering> {
    let number = |number: &String| number.parse::<f64>().unwrap();
    match (left?, right?) {
        (AttributeValue::S(left), AttributeValue::S(right)) => Some(left.cmp(right)),
        (AttributeValue::N(left), AttributeValue::N(right)) => {
            number(left).partial_cmp(&number(right))
        }
        _ => None,
    }
}
