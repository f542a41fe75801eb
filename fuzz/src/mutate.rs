//! Mutations that keep JSON valid. Random bytes would rarely get past the first
//! checks.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// A random number generator with a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = (z ^ (z >> 31)) >> 33;
        usize::try_from(z).expect("31 bits") % bound
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// Changes values of a JSON text, including those in strings that contain JSON.
pub fn json(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(seed.into());
    let parsed = serde_json::from_slice::<Value>(&data[..size]).ok();
    let changed = parsed.filter(|_| !random.one_in(4)).map(|mut value| {
        for _ in 0..=random.below(3) {
            change(&mut value, &mut random);
        }
        value.to_string().into_bytes()
    });
    replace(data, size, max_size, changed)
}

/// Changes one of several lines of JSON.
pub fn json_lines(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(seed.into());
    let changed = (!random.one_in(4))
        .then(|| {
            let text = std::str::from_utf8(&data[..size]).ok()?;
            let mut lines: Vec<&str> = text.split('\n').collect();
            let index = random.below(lines.len());
            let mut line: Value = serde_json::from_str(lines[index]).ok()?;
            change(&mut line, &mut random);
            let line = line.to_string();
            lines[index] = &line;
            Some(lines.join("\n").into_bytes())
        })
        .flatten();
    replace(data, size, max_size, changed)
}

/// Replaces the data. If nothing was changed, or the new data does not fit, libFuzzer
/// changes the data instead.
fn replace(data: &mut [u8], size: usize, max_size: usize, changed: Option<Vec<u8>>) -> usize {
    match changed {
        Some(changed) if changed.len() <= max_size => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

fn change(value: &mut Value, random: &mut Random) {
    // Usually descend to a leaf.
    match value {
        Value::Object(members) if !members.is_empty() && !random.one_in(6) => {
            let index = random.below(members.len());
            let name = members.keys().nth(index).expect("in range").clone();
            match random.below(10) {
                0 => {
                    members.remove(&name);
                }
                1 => {
                    let value = members[&name].clone();
                    let name = text(&name);
                    members.insert(name, value);
                }
                2 => {
                    let value = members[&name].clone();
                    members.insert(name.to_ascii_uppercase(), value);
                }
                _ => change(&mut members[&name], random),
            }
        }
        Value::Array(members) if !members.is_empty() && !random.one_in(6) => {
            let index = random.below(members.len());
            match random.below(10) {
                0 => {
                    members.remove(index);
                }
                1 | 2 => members.push(members[index].clone()),
                _ => change(&mut members[index], random),
            }
        }
        Value::String(string) if !random.one_in(6) => {
            let nested = serde_json::from_str::<Value>(string).ok();
            match nested.filter(|nested| nested.is_object() && !random.one_in(4)) {
                Some(mut nested) => {
                    change(&mut nested, random);
                    *string = nested.to_string();
                }
                None => *string = text(string),
            }
        }
        _ => {
            let old = value.take();
            *value = match random.below(12) {
                0 => Value::Null,
                1 => json!(true),
                2 => json!(random.below(200)),
                3 => json!(-1.5e300),
                4 => json!(u64::MAX),
                5 => json!([]),
                6 => json!([old.clone(), old]),
                7 => json!([old, "x"]),
                8 => json!({}),
                9 => json!({ "data": [{ "type": "customer", "id": old }] }),
                10 => json!(old.to_string()),
                _ => json!(""),
            };
        }
    }
}

fn text(old: &str) -> String {
    String::from_utf8_lossy(&bytes(old.as_bytes())).into_owned()
}

fn bytes(old: &[u8]) -> Vec<u8> {
    let room = old.len() + 64;
    let mut bytes = old.to_vec();
    bytes.resize(room, 0);
    let size = fuzzer_mutate(&mut bytes, old.len(), room);
    bytes.truncate(size);
    bytes
}
