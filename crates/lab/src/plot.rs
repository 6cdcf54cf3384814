//! Lines with markers over linear or logarithmic axes, written as PNG. The font comes with the program.

use crate::cli::about;
use image::{RgbImage, imageops::thumbnail};
use piadm::BoxError;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::ops::Range;
use std::path::Path;

/// Everything is drawn this many times larger and averaged, for smooth edges.
const SMOOTH: u32 = 3;
const FONT: &str = "plot";
const INK: RGBColor = RGBColor(40, 40, 40);

/// Shape of the points of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square.
    Square,
}

impl Marker {
    /// A closed line around the place of the marker; a hollow one is larger, to be seen around another.
    fn outline(self, filled: bool) -> Vec<(i32, i32)> {
        let (corners, radius) = match self {
            Marker::Circle => (32, 4.8),
            Marker::Square => (4, 5.8),
        };
        let corner = |i: u32| {
            let (sin, cos) = (f64::from(2 * i + 1) * std::f64::consts::PI / f64::from(corners)).sin_cos();
            let size = if filled { radius } else { 1.7 * radius };
            [cos, sin].map(|v| (v * size * f64::from(SMOOTH)).round() as i32).into()
        };
        (0..=corners).map(corner).collect()
    }
}

/// A line with markers.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub label: String,
    /// (x, y, filled): a point that is not filled is drawn hollow.
    pub points: Vec<(f64, f64, bool)>,
    /// Red, green, blue.
    pub colour: (u8, u8, u8),
    /// Shape of its points.
    pub marker: Marker,
    /// A dashed line.
    pub dashed: bool,
}

/// A plot. On a logarithmic axis all values must be positive.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above the plot.
    pub title: String,
    /// Below the plot.
    pub x_label: String,
    /// Left of the plot.
    pub y_label: String,
    /// A logarithmic x axis.
    pub log_x: bool,
    /// A logarithmic y axis.
    pub log_y: bool,
    /// Where x is labelled; by default at powers of ten or at round numbers.
    pub x_ticks: Option<Vec<f64>>,
    /// The lines, later ones on top; the legend lists them in their order.
    pub series: Vec<Series>,
}

/// One axis. Its range is in the coordinate that is drawn, which is the decimal logarithm on a logarithmic axis.
struct Axis {
    log: bool,
    range: Range<f64>,
    labelled: Vec<f64>,
    light: Vec<f64>,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, log: bool, ticks: Option<&[f64]>) -> Result<Self, BoxError> {
        let place = |v: f64| if log { v.log10() } else { v };
        let bounds = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
        let (low, high) = values.map(place).fold((f64::INFINITY, f64::NEG_INFINITY), bounds);
        if !(low.is_finite() && high.is_finite()) {
            return Err("a plot needs points, finite ones, and positive ones on logarithmic axes".into());
        }
        let margin = if high > low { 0.05 * (high - low) } else { 0.5 };
        let range = low - margin..high + margin;
        // a round step that gives about six labels; whole decades on a logarithmic axis
        let rough = (range.end - range.start) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].into_iter().map(|f| f * power).find(|s| *s >= rough).unwrap_or(rough);
        let step = if log { round.ceil().max(1.0) } else { round };
        let value = |v: f64| if log { 10f64.powf(v) } else { v };
        let (first, last) = ((range.start / step).ceil() as i64, (range.end / step).floor() as i64);
        let round_values = || (first..=last).map(|i| value(i as f64 * step)).collect();
        let mut labelled = ticks.map_or_else(round_values, <[f64]>::to_vec);
        labelled.retain(|v| range.contains(&place(*v)));
        let mut light = Vec::new();
        if log && ticks.is_none() {
            let decades = range.start.floor() as i32..=range.end.floor() as i32;
            light = decades.flat_map(|k| (2..10).map(move |i| f64::from(i) * 10f64.powi(k))).collect();
            light.retain(|v| range.contains(&v.log10()));
        }
        Ok(Axis { log, range, labelled, light })
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let place = if self.log { value.log10() } else { *value };
        let part = (place - self.range.start) / (self.range.end - self.range.start);
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { self.light.clone() } else { self.labelled.clone() }
    }

    fn range(&self) -> Range<f64> {
        let value = |v: f64| if self.log { 10f64.powf(v) } else { v };
        value(self.range.start)..value(self.range.end)
    }
}

impl ValueFormatter<f64> for Axis {
    /// The value of a tick, with thousands set apart.
    fn format_ext(&self, tick: &f64) -> String {
        // nine digits hide what the powers lost
        let value = format!("{tick:.9e}").parse().unwrap_or(*tick);
        if value.fract() != 0.0 || value.abs() >= 1e9 {
            return value.to_string();
        }
        let digits = format!("{:.0}", value.abs());
        let mut text = String::from(if value < 0.0 { "-" } else { "" });
        for (i, digit) in digits.char_indices() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }
}

impl Plot {
    /// Draws the plot and writes a PNG file of the given size in pixels.
    pub fn save(&self, path: impl AsRef<Path>, (width, height): (u32, u32)) -> Result<(), BoxError> {
        let path = path.as_ref();
        let mut large = RgbImage::new(width * SMOOTH, height * SMOOTH);
        let size = large.dimensions();
        self.draw(&mut large, size)?;
        thumbnail(&large, width, height).save(path).map_err(about(path))
    }

    /// Whether most lines end lower than they begin: then the legend is on the right.
    fn falls(&self) -> bool {
        let ends = |s: &Series| Some((*s.points.first()?, *s.points.last()?));
        let falls = |(a, b): &((f64, f64, bool), (f64, f64, bool))| (a.0 < b.0) == (a.1 > b.1);
        2 * self.series.iter().filter_map(ends).filter(falls).count() > self.series.len()
    }

    fn draw(&self, pixels: &mut [u8], size: (u32, u32)) -> Result<(), BoxError> {
        let font = |_| "the font cannot be read";
        register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).map_err(font)?;
        let points = || self.series.iter().flat_map(|s| &s.points);
        let x = Axis::new(points().map(|p| p.0), self.log_x, self.x_ticks.as_deref())?;
        let y = Axis::new(points().map(|p| p.1), self.log_y, None)?;
        // where the legend would hide fewer points
        let right = |p: &&(f64, f64, bool)| x.map(&p.0, (0, 100)) > 70;
        let hidden =
            |rows: Range<i32>| points().filter(right).filter(|p| rows.contains(&y.map(&p.1, (0, 100)))).count();
        let lower = hidden(0..40) < hidden(60..101);
        let unit = |n: u32| n * SMOOTH;
        let text = |n: u32| (FONT, unit(n)).into_font().color(&INK);
        let area = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
        area.fill(&WHITE)?;
        let mut builder = ChartBuilder::on(&area);
        builder.margin(unit(14)).margin_right(unit(24)).caption(&self.title, text(24));
        builder.x_label_area_size(unit(52)).y_label_area_size(unit(78));
        let mut chart = builder.build_cartesian_2d(x, y)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(&self.x_label).y_desc(&self.y_label).axis_desc_style(text(19)).label_style(text(17));
        mesh.axis_style(INK.stroke_width(SMOOTH)).set_all_tick_mark_size(unit(5));
        mesh.bold_line_style(RGBColor(205, 205, 205).stroke_width(SMOOTH));
        mesh.light_line_style(RGBColor(236, 236, 236).stroke_width(SMOOTH)).draw()?;
        for series in &self.series {
            let (red, green, blue) = series.colour;
            let line = RGBColor(red, green, blue).stroke_width(unit(2));
            let places = || series.points.iter().map(|p| (p.0, p.1));
            let drawn = if series.dashed {
                chart.draw_series(DashedLineSeries::new(places(), unit(7), unit(5), line))?
            } else {
                chart.draw_series(LineSeries::new(places(), line))?
            };
            let dashes = if series.dashed { [(0, 7), (33, 40)] } else { [(0, 20), (20, 40)] };
            let edge = series.marker.outline(true);
            drawn.label(&series.label).legend(move |left| {
                let piece = |(from, to)| PathElement::new([from, to].map(|x| (x * SMOOTH as i32, 0)), line);
                let centre: Vec<(i32, i32)> = edge.iter().map(|(x, y)| (x + 20 * SMOOTH as i32, *y)).collect();
                let [first, second] = dashes.map(piece);
                EmptyElement::at(left) + first + second + Polygon::new(centre, line.color)
            });
            let marks = series.points.iter().zip(places()).map(|(point, place)| {
                let inside = if point.2 { line.color } else { WHITE.to_rgba() };
                let outline = series.marker.outline(point.2);
                EmptyElement::at(place) + Polygon::new(outline.clone(), inside) + PathElement::new(outline, line)
            });
            chart.draw_series(marks)?;
        }
        let mut legend = chart.configure_series_labels();
        let left = SeriesLabelPosition::Coordinate(unit(12) as i32, unit(10) as i32);
        let corner = match (self.falls(), lower) {
            (true, true) => SeriesLabelPosition::LowerRight,
            (true, false) => SeriesLabelPosition::UpperRight,
            _ => left,
        };
        legend.position(corner).label_font(text(17)).legend_area_size(unit(50));
        legend.margin(unit(12)).background_style(WHITE.mix(0.9)).border_style(RGBColor(190, 190, 190)).draw()?;
        area.present()?;
        Ok(())
    }
}
