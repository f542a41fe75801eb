//! The charts in `docs/`. Their background is transparent and their colours are legible on white and on black.

use anyhow::{Context as _, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (720, 300);

const TEXT: RGBColor = RGBColor(0x80, 0x80, 0x80);
const FUNCTION: RGBColor = RGBColor(0x2f, 0x81, 0xf7);
const PLAIN: RGBColor = RGBColor(0xd2, 0x7a, 0x1e);

/// The medians of a start, in seconds.
pub(crate) struct Start {
    pub(crate) name: &'static str,
    pub(crate) start: f64,
    pub(crate) first_answer: f64,
}

/// Requests per second, by how many came at once.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(usize, f64)>,
}

/// Writes all charts.
pub(crate) fn write(starts: &[Start], curves: &[Curve]) -> Result<()> {
    write_file("start.svg", &start_chart(starts)?)?;
    write_file("at-once.svg", &at_once_chart(curves)?)
}

fn write_file(name: &str, svg: &str) -> Result<()> {
    let file = dev::project().join("docs").join(name);
    std::fs::write(&file, svg).with_context(|| format!("{} could not be written", file.display()))
}

/// Text of this size in the colour of all text.
fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&TEXT)
}

/// A bar for each start: until the program is ready, and from there to its first answer.
fn start_chart(starts: &[Start]) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let most = starts.iter().map(|start| start.start + start.first_answer);
        let most = most.fold(0.0, f64::max) * 1e3;
        let count = starts.len() as f64;
        let mut chart = ChartBuilder::on(&root)
            .caption("Start and first answer, ms", text(18))
            .margin(12)
            .margin_left(150)
            .x_label_area_size(30)
            .build_cartesian_2d(0.0..most * 1.12, 0.0..count)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(TEXT.mix(0.3))
            .axis_style(TEXT)
            .x_labels(8)
            .label_style(text(13))
            .draw()?;
        for (index, start) in starts.iter().enumerate() {
            // The first on top.
            let bottom = count - 1.0 - index as f64;
            let (low, high) = (bottom + 0.2, bottom + 0.8);
            let (ready, answered) = (start.start * 1e3, (start.start + start.first_answer) * 1e3);
            let colour = colour(start.name);
            let bar = |from, to, opacity| {
                Rectangle::new([(from, low), (to, high)], colour.mix(opacity).filled())
            };
            chart.draw_series([bar(0.0, ready, 0.55), bar(ready, answered, 1.0)])?;
            let label = |position, x, text: String| {
                let style = self::text(13).pos(Pos::new(position, VPos::Center));
                let middle = (x, bottom + 0.5);
                EmptyElement::at(middle) + Text::new(text, (offset(position), 0), style)
            };
            chart.draw_series([
                label(HPos::Right, 0.0, start.name.to_owned()),
                label(HPos::Left, answered, format!("{answered:.1}")),
            ])?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// A line for each program and number of cores.
fn at_once_chart(curves: &[Curve]) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let most = points().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let widest = points().map(|(at_once, _)| *at_once).max().unwrap_or(1);
        let mut chart = ChartBuilder::on(&root)
            .caption("Requests a second, by requests at once", text(18))
            .margin(12)
            .margin_right(130)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d((1.0..widest as f64).log_scale().base(2.0), 0.0..most * 1.1)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(TEXT.mix(0.3))
            .axis_style(TEXT)
            .label_style(text(13))
            .x_label_formatter(&|at_once| format!("{at_once:.0}"))
            .y_label_formatter(&|rate| format!("{rate:.0}"))
            .draw()?;
        for curve in curves {
            let points = || curve.points.iter().map(|(x, rate)| (*x as f64, *rate));
            let colour = colour(&curve.name);
            chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
            let dot = |point| Circle::new(point, 3, colour.filled());
            chart.draw_series(points().map(dot))?;
            let style = text(13).pos(Pos::new(HPos::Left, VPos::Center));
            let name =
                |point| EmptyElement::at(point) + Text::new(curve.name.clone(), (8, 0), style);
            chart.draw_series(points().next_back().map(name))?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// The colour of what belongs to a program.
fn colour(name: &str) -> RGBColor {
    match name.split(',').next() {
        Some("function") => FUNCTION,
        Some("plain") => PLAIN,
        _ => TEXT,
    }
}

/// How far a text is from its point.
fn offset(position: HPos) -> i32 {
    match position {
        HPos::Left => 6,
        HPos::Right => -6,
        HPos::Center => 0,
    }
}
