/* The text of sysai_vector.h, in sections that vector_header.py repeats for each type and number of lanes L. */
/* ==== scalars: once ==== */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num(void) { return 0; }
#endif
#if defined(SYSAI_NARROW) && defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__clang__) && !defined(__FLT16_MAX__)
#define _Float16 __fp16 /* clang has the first only where the processor computes with it; memory can hold the second */
#endif

static inline int64_t floordiv_i64(int64_t a, int64_t b) {
    return b == -1 ? -a : a / b - (a % b != 0 && (a < 0) != (b < 0)); /* the smallest integer by -1 is itself */
}
static inline int64_t mod_i64(int64_t a, int64_t b) {
    int64_t rest = b == -1 ? 0 : a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
/* What a kernel returns is the sum of what went wrong: 1 no memory, 2 an index, 4 an integer divided by 0. */
static inline int64_t within_i64(int64_t index, int64_t size, int *failed) {
    const int inside = (uint64_t)index < (uint64_t)size;
    *failed |= inside ? 0 : 2;
    return inside ? index : 0;
}
static inline int64_t nonzero_i64(int64_t divisor, int *failed) {
    *failed |= divisor ? 0 : 4;
    return divisor ? divisor : 1;
}
static inline int32_t as_i32(int64_t a) { /* far from 0 only the sign is kept */
    const int64_t most = 1 << 30;
    return a > most ? most : a < -most ? -most : a;
}

static inline float from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline float round_bf16(float x) { return from_bf16(to_bf16(x)); }
static inline float round_f16(float x) { return (float)(_Float16)x; }

/* a b + c, rounded once where the processor has an instruction for it: nothing else is contracted, see FLAGS */
#if defined(__FMA__) || defined(__FP_FAST_FMAF)
static inline float fma_f32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline double fma_f64(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
static inline float fma_f32(float a, float b, float c) { return a * b + c; }
static inline double fma_f64(double a, double b, double c) { return a * b + c; }
#endif

static inline double exp_f64(double x) { return exp(x); }
static inline double log_f64(double x) { return log(x); }
static inline double sqrt_f64(double x) { return sqrt(x); }
static inline double rsqrt_f64(double x) { return 1 / sqrt(x); }
static inline double tanh_f64(double x) { return tanh(x); }
static inline double erf_f64(double x) { return erf(x); }
static inline double sigmoid_f64(double x) { return 1 / (1 + exp(-x)); }
static inline double sin_f64(double x) { return sin(x); }
static inline double cos_f64(double x) { return cos(x); }
static inline double abs_f64(double x) { return fabs(x); }
static inline double floor_f64(double x) { return floor(x); }
static inline double pow2_f64(double x) { return exp2(x); }
/* ==== division: for each float type: t its name, c its C name, f the suffix of math.h's functions ==== */
static inline $c mod_$t($c a, $c b) {
    $c rest = fmod$f(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
static inline $c floordiv_$t($c a, $c b) { /* as Python and numpy do it: a == b * floordiv(a, b) + mod(a, b) */
    if (b == 0) return a / b;
    $c rest = fmod$f(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return copysign$f(0, a / b);
    $c whole = floor$f(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}
/* ==== extremes: for each type ==== */
static inline $c min_$t($c a, $c b) { return b < a$nan ? b : a; } /* of equal numbers, as 0 and -0, the first */
static inline $c max_$t($c a, $c b) { return b > a$nan ? b : a; }
/* ==== vectors: for each number of lanes L ==== */
/* ---- $L lanes ---- */
typedef uint16_t u16x$L __attribute__((vector_size(2 * $L)));
typedef uint32_t u32x$L __attribute__((vector_size(4 * $L)));
typedef int16_t i16x$L __attribute__((vector_size(2 * $L)));
typedef _Float16 f16x$L __attribute__((vector_size(2 * $L)));
/* ==== type: for each L and type ==== */
typedef $c ${t}x$L __attribute__((vector_size(sizeof($c) * $L)));
typedef $c ${t}x${L}_in_memory __attribute__((vector_size(sizeof($c) * $L), aligned(sizeof($c)), may_alias));
static inline ${t}x$L load_${t}x$L(const $c *p) { return *(const ${t}x${L}_in_memory *)p; }
static inline void store_${t}x$L($c *p, ${t}x$L x) { *(${t}x${L}_in_memory *)p = x; }
static inline ${t}x$L splat_${t}x$L($c x) { return (${t}x$L){$copies}; }
/* ==== choice: for each L and type: m the type of its masks ==== */
static inline ${t}x$L select_${t}x$L(i32x$L mask, ${t}x$L a, ${t}x$L b) {
    ${m}x$L wide = __builtin_convertvector(mask, ${m}x$L);
    return (${t}x$L)((wide & (${m}x$L)a) | (~wide & (${m}x$L)b));
}
static inline ${t}x$L min_${t}x$L(${t}x$L a, ${t}x$L b) {
    ${m}x$L second = (${m}x$L)(b < a)$nan;
    return (${t}x$L)((second & (${m}x$L)b) | (~second & (${m}x$L)a));
}
static inline ${t}x$L max_${t}x$L(${t}x$L a, ${t}x$L b) {
    ${m}x$L second = (${m}x$L)(b > a)$nan;
    return (${t}x$L)((second & (${m}x$L)b) | (~second & (${m}x$L)a));
}
/* ==== fma: for each L and float type ==== */
static inline __attribute__((always_inline)) ${t}x$L fma_${t}x$L(${t}x$L a, ${t}x$L b, ${t}x$L c) {
#ifdef __clang__
#pragma clang fp contract(fast)
    return a * b + c;
#elif defined($feature)
    return $fma;
#else
    return (${t}x$L){$lanes};
#endif
}
/* ==== halves: for each L ==== */
static inline i32x$L load_b8x$L(const uint8_t *p) {
    return __builtin_convertvector(load_i8x$L((const int8_t *)p) != 0, i32x$L);
}
static inline void store_b8x$L(uint8_t *p, i32x$L x) { store_i8x$L((int8_t *)p, __builtin_convertvector(-x, i8x$L)); }
#ifdef SYSAI_NARROW
static inline i32x$L widen_i8x$L(i8x$L x) {$widen_i8}
static inline u32x$L widen_u16x$L(u16x$L x) {$widen_u16}
static inline f32x$L widen_bf16x$L(u16x$L x) { return (f32x$L)(widen_u16x$L(x) << 16); }
static inline u16x$L narrow_bf16x$L(f32x$L x) {
    u32x$L bits = (u32x$L)x, isnan = (u32x$L)(x != x);
    u32x$L nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return __builtin_convertvector((isnan & 0x7fc0) | (~isnan & nearest), u16x$L);
}
static inline f32x$L load_bf16x$L(const uint16_t *p) { u16x$L x; memcpy(&x, p, 2 * $L); return widen_bf16x$L(x); }
static inline void store_bf16x$L(uint16_t *p, f32x$L x) { u16x$L half = narrow_bf16x$L(x); memcpy(p, &half, 2 * $L); }
static inline f32x$L round_bf16x$L(f32x$L x) { return widen_bf16x$L(narrow_bf16x$L(x)); }
static inline f32x$L widen_f16x$L(f16x$L x) {$widen_f16}
static inline f32x$L load_f16x$L(const _Float16 *p) { f16x$L x; memcpy(&x, p, 2 * $L); return widen_f16x$L(x); }
static inline void store_f16x$L(_Float16 *p, f32x$L x) {
    f16x$L half = __builtin_convertvector(x, f16x$L);
    memcpy(p, &half, 2 * $L);
}
static inline f32x$L round_f16x$L(f32x$L x) { return widen_f16x$L(__builtin_convertvector(x, f16x$L)); }
#endif
/* ==== math: for each L ==== */
static inline f32x$L mad_f32x$L(f32x$L a, f32x$L b, float c) { return fma_f32x$L(a, b, splat_f32x$L(c)); }
static inline f32x$L fabs_f32x$L(f32x$L x) { return (f32x$L)((i32x$L)x & 0x7fffffff); }
static inline f32x$L sign_of_f32x$L(f32x$L x, f32x$L sign) { return (f32x$L)((i32x$L)x | ((i32x$L)sign & INT32_MIN)); }
static inline f32x$L abs_f32x$L(f32x$L x) { return fabs_f32x$L(x); }
static inline f64x$L abs_f64x$L(f64x$L x) { return (f64x$L)((i64x$L)x & INT64_MAX); }
static inline f32x$L power_of_two_f32x$L(i32x$L n) { return (f32x$L)((n + 127) << 23); }

/* exp(reduced) * 2^n, |reduced| <= ln(2) / 2; the power in two factors, as normal numbers end before the result does */
static inline f32x$L scaled_exp_f32x$L(f32x$L reduced, f32x$L shifted) {
    f32x$L p = splat_f32x$L(1.9875691500e-4f);
    p = mad_f32x$L(p, reduced, 1.3981999507e-3f);
    p = mad_f32x$L(p, reduced, 8.3334519073e-3f);
    p = mad_f32x$L(p, reduced, 4.1665795894e-2f);
    p = mad_f32x$L(p, reduced, 1.6666665459e-1f);
    p = mad_f32x$L(p, reduced, 5.0000001201e-1f);
    p = fma_f32x$L(p, reduced * reduced, reduced);
    i32x$L n = ((i32x$L)shifted & 0x7fffff) - 0x400000, half = n >> 1;
    f32x$L power = power_of_two_f32x$L(half);
    return fma_f32x$L(p, power, power) * power_of_two_f32x$L(n - half);
}
static inline f32x$L exp_f32x$L(f32x$L x) {
    x = select_f32x$L(x > 89.0f, splat_f32x$L(89.0f), x);
    i32x$L none = x < -104.0f; /* of a mask's -inf as well; computed as exp(0), as to underflow takes 100 cycles */
    x = select_f32x$L(none, splat_f32x$L(0.0f), x);
    f32x$L shifted = mad_f32x$L(x, splat_f32x$L(1.44269504088896341f), 12582912.0f); /* an integer, in the low bits */
    f32x$L n = shifted - 12582912.0f;
    f32x$L reduced = fma_f32x$L(n, splat_f32x$L(-0.693359375f), x);
    reduced = fma_f32x$L(n, splat_f32x$L(2.12194440e-4f), reduced);
    return select_f32x$L(none, splat_f32x$L(0.0f), scaled_exp_f32x$L(reduced, shifted));
}
static inline f32x$L pow2_f32x$L(f32x$L x) {
    x = select_f32x$L(x > 129.0f, splat_f32x$L(129.0f), x);
    i32x$L none = x < -150.0f;
    x = select_f32x$L(none, splat_f32x$L(0.0f), x);
    f32x$L shifted = x + 12582912.0f;
    f32x$L n = shifted - 12582912.0f;
    x = scaled_exp_f32x$L((x - n) * 0.693147180559945309f, shifted);
    return select_f32x$L(none, splat_f32x$L(0.0f), x);
}
static inline f32x$L sigmoid_f32x$L(f32x$L x) { return 1.0f / (1.0f + exp_f32x$L(-x)); }
static inline f32x$L log_f32x$L(f32x$L x) {
    i32x$L tiny = x < 1.17549435e-38f;
    f32x$L normal = select_f32x$L(tiny, x * 8388608.0f, x);
    i32x$L bits = (i32x$L)normal - 0x3f3504f3; /* so that the mantissa lies between sqrt(1/2) and sqrt(2) */
    f32x$L n = __builtin_convertvector((bits >> 23) - (tiny & 23), f32x$L);
    f32x$L m = (f32x$L)((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;
    f32x$L p = splat_f32x$L(7.0376836292e-2f);
    p = mad_f32x$L(p, m, -1.1514610310e-1f);
    p = mad_f32x$L(p, m, 1.1676998740e-1f);
    p = mad_f32x$L(p, m, -1.2420140846e-1f);
    p = mad_f32x$L(p, m, 1.4249322787e-1f);
    p = mad_f32x$L(p, m, -1.6668057665e-1f);
    p = mad_f32x$L(p, m, 2.0000714765e-1f);
    p = mad_f32x$L(p, m, -2.4999993993e-1f);
    p = mad_f32x$L(p, m, 3.3333331174e-1f);
    f32x$L square = m * m;
    f32x$L y = fma_f32x$L(n, splat_f32x$L(-2.12194440e-4f), p * m * square);
    y = fma_f32x$L(square, splat_f32x$L(-0.5f), y);
    y = fma_f32x$L(n, splat_f32x$L(0.693359375f), m + y);
    y = select_f32x$L(x == 0.0f, splat_f32x$L(-INFINITY), y);
    y = select_f32x$L(x < 0.0f, splat_f32x$L(NAN), y);
    return select_f32x$L(x < INFINITY, y, x);
}
static inline f32x$L tanh_f32x$L(f32x$L x) {
    f32x$L a = fabs_f32x$L(x);
    f32x$L s = x * x;
    f32x$L p = splat_f32x$L(-5.70498872745e-3f);
    p = mad_f32x$L(p, s, 2.06390887954e-2f);
    p = mad_f32x$L(p, s, -5.37397155531e-2f);
    p = mad_f32x$L(p, s, 1.33314422036e-1f);
    p = mad_f32x$L(p, s, -3.33332819422e-1f);
    f32x$L small = fma_f32x$L(p * s, a, a);
    f32x$L large = 1.0f - 2.0f / (exp_f32x$L(a + a) + 1.0f);
    return sign_of_f32x$L(select_f32x$L(a < 0.625f, small, large), x);
}
static inline f32x$L erf_f32x$L(f32x$L x) { /* 1 - 2^y(|x|), y = log2(1 - erf) and 2^y minimax polynomials */
    f32x$L a = fabs_f32x$L(x);
    a = select_f32x$L(a > 4.0f, splat_f32x$L(4.0f), a);
    f32x$L p = splat_f32x$L(1.23924983e-05f);
    p = mad_f32x$L(p, a, -0.000162089156f);
    p = mad_f32x$L(p, a, 0.000889115676f);
    p = mad_f32x$L(p, a, -0.0023673554f);
    p = mad_f32x$L(p, a, 0.000199624119f);
    p = mad_f32x$L(p, a, 0.0276460554f);
    p = mad_f32x$L(p, a, -0.14827998f);
    p = mad_f32x$L(p, a, -0.918447375f);
    f32x$L y = fma_f32x$L(a, splat_f32x$L(-1.62790704f), p * (a * a));
    f32x$L shifted = y + 12582912.0f; /* see exp */
    f32x$L rest = y - (shifted - 12582912.0f);
    f32x$L r = splat_f32x$L(1.20514533e-05f);
    r = mad_f32x$L(r, rest, 0.000154388312f);
    r = mad_f32x$L(r, rest, 0.00133463915f);
    r = mad_f32x$L(r, rest, 0.00961811189f);
    r = mad_f32x$L(r, rest, 0.0555039793f);
    r = mad_f32x$L(r, rest, 0.240226507f);
    f32x$L less_one = fma_f32x$L(rest, splat_f32x$L(0.693147182f), r * (rest * rest)); /* 2^rest - 1 */
    f32x$L power = (f32x$L)(((i32x$L)shifted << 23) + 0x3f800000);
    return sign_of_f32x$L(fma_f32x$L(-power, less_one, 1.0f - power), x);
}
/* ==== by_lanes: for each L and function f that vectors do not have ==== */
static inline ${t}x$L ${f}_${t}x$L(${t}x$L x) { return (${t}x$L){$lanes}; }
/* ==== scalar_math: for each function f ==== */
static inline float ${f}_f32(float x) { return ${f}_f32x4(splat_f32x4(x))[0]; }
