"""Characters as every TeX has them: maths where that knows them, letters that its fonts have; the rest is named."""

from __future__ import annotations

import unicodedata

_MATHS = """
    α alpha  β beta  γ gamma  δ delta  ε varepsilon  ζ zeta  η eta  θ theta  ι iota  κ kappa  λ lambda  μ mu  ν nu
    ξ xi  π pi  ρ rho  ς varsigma  σ sigma  τ tau  υ upsilon  φ varphi  χ chi  ψ psi  ω omega  Γ Gamma  Δ Delta
    Θ Theta  Λ Lambda  Ξ Xi  Π Pi  Σ Sigma  Υ Upsilon  Φ Phi  Ψ Psi  Ω Omega  ϵ epsilon  ϑ vartheta  ϕ phi  ϱ varrho
    ϖ varpi  µ mu  ← leftarrow  → rightarrow  ↑ uparrow  ↓ downarrow  ↔ leftrightarrow  ↕ updownarrow  ⇐ Leftarrow
    ⇒ Rightarrow  ⇑ Uparrow  ⇓ Downarrow  ⇔ Leftrightarrow  ⇕ Updownarrow  ↗ nearrow  ↘ searrow  ↙ swarrow
    ↖ nwarrow  ↦ mapsto  ↪ hookrightarrow  ↩ hookleftarrow  ⇌ rightleftharpoons  ⟵ longleftarrow  ⟶ longrightarrow
    ⟷ longleftrightarrow  ⟸ Longleftarrow  ⟹ Longrightarrow  ⟺ Longleftrightarrow  ⟼ longmapsto  ± pm  ∓ mp  × times
    ÷ div  ⋅ cdot  ∘ circ  ∙ bullet  ⊕ oplus  ⊖ ominus  ⊗ otimes  ⊘ oslash  ⊙ odot  ⋆ star  ★ star  ≤ leq  ≥ geq
    ≈ approx  ≠ neq  ≡ equiv  ∼ sim  ≃ simeq  ≅ cong  ∝ propto  ≪ ll  ≫ gg  ≺ prec  ≻ succ  ∈ in  ∉ notin  ∋ ni
    ⊂ subset  ⊃ supset  ⊆ subseteq  ⊇ supseteq  ∪ cup  ∩ cap  ∖ setminus  ∅ emptyset  ∀ forall  ∃ exists  ¬ neg
    ∧ wedge  ∨ vee  ⊥ perp  ⊤ top  ∥ parallel  ∣ mid  ∠ angle  ∞ infty  ∂ partial  ∇ nabla  ∑ sum  ∏ prod  ∫ int
    √ surd  ∆ Delta  ℓ ell  ℜ Re  ℑ Im  ⟨ langle  ⟩ rangle  ⌊ lfloor  ⌋ rfloor  ⌈ lceil  ⌉ rceil  ‖ Vert  ⋯ cdots
    ⋮ vdots  ⋱ ddots  △ triangle  ◇ diamond
"""
"""Characters, each with what TeX's maths calls it."""
_NAMES = dict(zip(_MATHS.split()[::2], _MATHS.split()[1::2], strict=True))
_LETTERS = dict(zip("οΑΒΕΖΗΙΚΜΝΟΡΤΧ", "oABEZHIKMNOPTX", strict=True))
"""Greek letters that look like Latin ones, which TeX has no names for."""
_PRIMES = {"′": r"^{\prime}", "″": r"^{\prime\prime}", "‴": r"^{\prime\prime\prime}"}
_TEXTS = {
    **{"—": "---", "–": "--", "―": "---", "‒": "--", "‐": "-", "‑": "-", "…": r"\ldots{}", "⁄": "/"},
    **{"«": r"$\ll$", "»": r"$\gg$", "‹": "$<$", "›": "$>$", "„": ",,", "‚": ","},
    **{"©": r"\textcopyright{}", "®": r"\textregistered{}", "™": r"\texttrademark{}"},
    **{"−": "$-$", "·": r"$\cdot$", "°": r"$^{\circ}$"},
}
_WITHOUT = "ÐðÞþĐđĦħĸĿŀŉŊŋŦŧſĄąĘęĮįŲų¤ªº¢¥¦©®¬¯´¸¨¹²³¼½¾­"
"""What is below U+0180 and not in TeX's oldest fonts, or not there without a package."""
_QUOTES = "‘’“”†‡•"
"""Above it, what LaTeX has had ever since."""


def symbol(character: str) -> str | None:
    """A character that is not ASCII as TeX; None where no name of TeX's is known for it."""
    if character in _TEXTS:
        return _TEXTS[character]
    maths = _maths(character)
    if maths is not None:
        return f"${maths}$"
    if character in _QUOTES or (character < "\u0180" and character not in _WITHOUT):
        return character
    return None


def _maths(character: str) -> str | None:
    if character in _NAMES:
        return f"\\{_NAMES[character]}"
    if character in _LETTERS:
        return rf"\mathrm{{{_LETTERS[character]}}}"
    if character in _PRIMES:
        return _PRIMES[character]
    # `<super> 2212` for a raised minus sign.
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    if kind in ("<super>", "<sub>") and " " not in code:
        base = chr(int(code, 16)).replace("−", "-")
        if base.isascii() or base in _NAMES:
            return f"{'^' if kind == '<super>' else '_'}{{{_maths(base) or base}}}"
    return None


def code(character: str) -> str:
    """`U+4E2D`: what stands for a character where it can't."""
    return f"U+{ord(character):04X}"


def named(characters: str) -> list[str]:
    """A line for each of some characters, in order: `U+4E2D is 中, CJK UNIFIED IDEOGRAPH-4E2D`."""
    return [
        f"{code(character)} is {character if character.isprintable() else 'not printable'}, "
        f"{unicodedata.name(character, 'without a name')}"
        for character in sorted(set(characters))
    ]
