//! The charts in `docs/`. They have a background of their own, so that they are legible on any page.

use anyhow::{Context as _, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::program::Program;
use crate::report::Compared;

const SIZE: (u32, u32) = (720, 300);

/// The background and the text. Where the browser prefers dark pages, both are dark ones.
const STYLE: &str = "\
<style>.page{fill:#fff;stroke:#d1d9e0}text{fill:#1f2328}\
@media(prefers-color-scheme:dark){.page{fill:#0d1117;stroke:#3d444d}text{fill:#e6edf3}}</style>
<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"719\" height=\"299\" rx=\"6\"/>
";

const TEXT: RGBColor = RGBColor(0x80, 0x80, 0x80);
const FUNCTION: RGBColor = RGBColor(0x2f, 0x81, 0xf7);
const PLAIN: RGBColor = RGBColor(0xd2, 0x7a, 0x1e);

/// Requests per second, by how many came at once.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(usize, f64)>,
}

pub(crate) fn write(compared: &[Compared], curves: &[Curve]) -> Result<()> {
    write_file("yardsticks.svg", &yardsticks_chart(compared)?)?;
    write_file("at-once.svg", &at_once_chart(curves)?)
}

fn write_file(name: &str, svg: &str) -> Result<()> {
    let file = dev::project().join("docs").join(name);
    let (element, content) = svg.split_once('\n').context("a chart of one line")?;
    std::fs::write(&file, [element, "\n", STYLE, content].concat())
        .with_context(|| format!("{} could not be written", file.display()))
}

/// Text of this size in the colour of all text.
fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&TEXT)
}

/// The first six figures, each with a bar for each program.
fn yardsticks_chart(compared: &[Compared]) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        for (area, figure) in root.split_evenly((2, 3)).iter().zip(compared) {
            let Compared {
                title,
                unit,
                figures,
            } = figure;
            let most = figures.iter().copied().fold(0.0, f64::max);
            let mut chart = ChartBuilder::on(area)
                .caption(title, text(16))
                .margin(8)
                .margin_left(66)
                .build_cartesian_2d(0.0..most * 1.7, 4.0..0.0)?;
            for (index, (program, figure)) in Program::WORKING.iter().zip(figures).enumerate() {
                let (name, top) = (program.name(), index as f64);
                let bar = [(0.0, top + 0.2), (*figure, top + 0.8)];
                let label = |x, offset, side, text: String| {
                    let style = self::text(14).pos(Pos::new(side, VPos::Center));
                    EmptyElement::at((x, top + 0.5)) + Text::new(text, (offset, 0), style)
                };
                chart.draw_series([Rectangle::new(bar, colour(name).filled())])?;
                chart.draw_series([
                    label(0.0, -6, HPos::Right, name.to_owned()),
                    label(*figure, 6, HPos::Left, unit.text(*figure)),
                ])?;
            }
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
