//! Mutations that keep JSON valid. Random bytes would rarely get past the first
//! checks.

use fastrand::Rng;
use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// Changes one of the lines of JSON of an input, also in strings that contain JSON.
/// If that does not succeed, libFuzzer changes the input instead.
pub fn json_lines(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Rng::with_seed(seed.into());
    let changed = changed(&data[..size], &mut random);
    match changed.filter(|changed| changed.len() <= max_size && random.u8(..4) > 0) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(changed.as_bytes());
            changed.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
}

fn changed(data: &[u8], random: &mut Rng) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    let mut lines: Vec<&str> = text.split('\n').collect();
    let index = random.usize(..lines.len());
    let mut line: Value = serde_json::from_str(lines[index]).ok()?;
    for _ in 0..=random.u8(..3) {
        change(&mut line, random);
    }
    let line = line.to_string();
    lines[index] = &line;
    Some(lines.join("\n"))
}

fn change(value: &mut Value, random: &mut Rng) {
    let is_inside = random.u8(..6) > 0;
    match value {
        Value::Object(members) if !members.is_empty() && is_inside => {
            let name = random.choice(members.keys()).cloned().unwrap_or_default();
            match random.u8(..10) {
                0 => {
                    members.remove(&name);
                }
                1 | 2 => {
                    let copy = members[&name].clone();
                    members.insert(text(&name), copy);
                }
                _ => change(&mut members[&name], random),
            }
        }
        Value::Array(members) if !members.is_empty() && is_inside => {
            let index = random.usize(..members.len());
            match random.u8(..10) {
                0 => {
                    members.remove(index);
                }
                1 | 2 => members.push(members[index].clone()),
                _ => change(&mut members[index], random),
            }
        }
        Value::String(string) if is_inside => {
            let nested = serde_json::from_str::<Value>(string).ok();
            match nested.filter(Value::is_object) {
                Some(mut nested) => {
                    change(&mut nested, random);
                    *string = nested.to_string();
                }
                None => *string = text(string),
            }
        }
        old => {
            let odd = [
                json!(null),
                json!(true),
                json!(random.u8(..200)),
                json!(-1.5e300),
                json!(u64::MAX),
                json!([]),
                json!([old, old]),
                json!([old, "x"]),
                json!({}),
                json!({ "data": [{ "type": "customer", "id": old }] }),
                json!(old.to_string()),
                json!(""),
            ];
            *old = random.choice(odd).unwrap_or_default();
        }
    }
}

/// Changes a text as libFuzzer changes bytes.
fn text(old: &str) -> String {
    let mut bytes = old.as_bytes().to_vec();
    bytes.resize(old.len() + 64, 0);
    let room = bytes.len();
    let size = fuzzer_mutate(&mut bytes, old.len(), room);
    String::from_utf8_lossy(&bytes[..size]).into_owned()
}
