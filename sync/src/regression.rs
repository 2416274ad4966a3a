//! A straight line through points, some of which are better than others.

/// A point of the regression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weighted {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// How far `y` can be off. Positive.
    pub(crate) uncertainty: f64,
}

/// `y = intercept + slope * x`
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Fit {
    pub(crate) intercept: f64,
    pub(crate) slope: f64,
}

impl Fit {
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// How often points that lie outside of their uncertainty are given less weight.
const ROUNDS: usize = 2;

/// Weighted least squares, with less weight for points that are further from the line than their uncertainty (Huber's
/// weights). `None` where the points do not determine a line.
pub(crate) fn fit(points: &[Weighted]) -> Option<Fit> {
    let mut fit = least_squares(points, |_| 1.0)?;
    for _ in 0..ROUNDS {
        let before = fit;
        fit = least_squares(points, |point| {
            let residual = (point.y - before.at(point.x)).abs();
            if residual > point.uncertainty { point.uncertainty / residual } else { 1.0 }
        })?;
    }
    Some(fit)
}

fn least_squares(points: &[Weighted], trust: impl Fn(&Weighted) -> f64) -> Option<Fit> {
    let weight = |point: &Weighted| trust(point) / (point.uncertainty * point.uncertainty);
    let (mut weights, mut x_mean, mut y_mean) = (0.0, 0.0, 0.0);
    for point in points {
        let weight = weight(point);
        weights += weight;
        x_mean += weight * point.x;
        y_mean += weight * point.y;
    }
    x_mean /= weights;
    y_mean /= weights;
    let (mut xx, mut xy) = (0.0, 0.0);
    for point in points {
        let weighted = weight(point) * (point.x - x_mean);
        xx += weighted * (point.x - x_mean);
        xy += weighted * (point.y - y_mean);
    }
    let slope = xy / xx;
    slope.is_finite().then_some(Fit { intercept: y_mean - slope * x_mean, slope })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(xs: &[f64], line: impl Fn(f64) -> f64) -> Vec<Weighted> {
        xs.iter().map(|x| Weighted { x: *x, y: line(*x), uncertainty: 10.0 }).collect()
    }

    #[test]
    fn a_single_instant_is_no_line() {
        assert_eq!(fit(&[]), None);
        assert_eq!(fit(&points(&[1.0, 1.0], |x| x)), None);
    }

    proptest! {
        #[test]
        fn exact_lines_are_found(intercept in -1e6_f64..1e6, slope in -1e5_f64..1e5, xs in prop::collection::hash_set(-80_i32..0, 2..80)) {
            let xs: Vec<f64> = xs.into_iter().map(|x| f64::from(x) / 10.0).collect();
            let fit = fit(&points(&xs, |x| intercept + slope * x)).expect("the points determine a line");
            prop_assert!((fit.slope - slope).abs() < 1e-3, "{fit:?}");
            prop_assert!((fit.intercept - intercept).abs() < 1e-3, "{fit:?}");
        }

        #[test]
        fn one_false_point_moves_the_line_little(slope in -1e4_f64..1e4, at in 0_usize..40, by in 1e3_f64..1e9) {
            let xs: Vec<f64> = (0..40).map(|x| f64::from(x) / 10.0).collect();
            let mut points = points(&xs, |x| slope * x);
            points[at].y += by;
            let robust = fit(&points).expect("the points determine a line");
            let plain = least_squares(&points, |_| 1.0).expect("the points determine a line");
            let error = |fit: Fit| fit.intercept.abs() + (fit.slope - slope).abs();
            prop_assert!(error(robust) < error(plain) / 2.0, "{robust:?} {plain:?}");
        }

        #[test]
        fn better_points_count_more(offset in 1.0_f64..1e3) {
            let mut points = points(&[0.0, 1.0, 2.0, 3.0], |_| 0.0);
            for point in &mut points {
                point.uncertainty = 1e4;
            }
            let good = points.clone();
            points.extend(good.iter().map(|point| Weighted { y: offset, uncertainty: 1e3, ..*point }));
            let fit = fit(&points).expect("the points determine a line");
            prop_assert!((fit.at(1.5) - offset).abs() < offset * 0.011);
        }
    }
}
