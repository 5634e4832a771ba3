"""Words by which parts of a document are known, in English and Chinese."""

from __future__ import annotations

import re

QUESTION = re.compile(r"\s*(?:问题|提问|question|user|q|问)(?:\s*\d{1,4})?\s*[:：.．、]\s*(?:\d{1,4}[.．、]\s+)?", re.I)
ANSWER = re.compile(r"\s*(?:答案|回答|answer|assistant|a|答)(?:\s*\d{1,4})?\s*[:：.．、]\s*", re.I)
QUESTIONS = frozenset(("question", "questions", "q", "问题", "提问"))
TAGS = frozenset(("tags", "tag", "keywords", "标签", "关键词"))
ANSWERS = frozenset(("answer", "answers", "a", "答案", "回答"))
ABSTRACT = re.compile(r"\s*(?:abstract|summary|摘\s*要)(?:\b|(?=[^a-z]))\s*[.:：—–-]*\s*", re.I)
REFERENCES = re.compile(r"\s*(?:[0-9]{1,2}\.?\s+)?(?:references|bibliography|参考文献)\s*[.:：]?\s*", re.I)
EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
PHONE = re.compile(r"(?<![\w.])(?:\+\d{1,3}[ -]?)?(?:\(\d{1,4}\)[ -]?)?\d(?:[ -]?\d){6,13}(?![\w.])")

_CONTENTS = frozenset(
    ("contents", "tableofcontents", "listofcontents", "目录", "目錄", "目次", "inhalt", "inhaltsverzeichnis")
)

_LONGEST_HEAD = 64  # characters of a heading, with all that may stand around its words
_RESUME = {
    "Education": r"education(?:al background)?|academic background|教\s*育(?:背\s*景|经\s*历)?",
    "Work": (
        r"(?:(?:work|professional|employment)\s+)?experience|employment(?: history)?|work history"
        r"|工作(?:经历|经验)|实习经历"
    ),
    "Projects": r"(?:selected\s+|personal\s+)?projects?(?: experience)?|项目(?:经历|经验)",
    "Skills": r"(?:technical\s+|core\s+|key\s+)?skills?(?: (?:and|&) \w+)?|专业技能|个人技能|技能(?:特长)?",
    "Certificates": r"certificat(?:es|ions)|licen[cs]es|awards(?: and honou?rs)?|证书|获奖(?:情况|经历)?|荣誉(?:证书)?",
    "Languages": r"languages?|语言(?:能力)?",
    "Summary": r"(?:professional\s+|career\s+)?(?:summary|profile|objective)|about me|自我评价|个人(?:简介|总结)|求职意向",
    "Basic Info": r"(?:personal|basic) (?:information|info|details)|contact(?: details)?|基本信息|个人信息|联系方式",
}
_RESUME_HEADS = {
    label: re.compile(rf"\s*(?:[一二三四五六七八九十]、|[0-9]\.)?\s*(?:{words})\s*[:：]?\s*", re.I)
    for label, words in _RESUME.items()
}


def is_contents(line: str) -> bool:
    """Whether a line is what a table of contents is headed by."""
    return "".join(line.split()).lower().rstrip(":：") in _CONTENTS


def resume_part(line: str) -> str:
    """Which part of a resume a line is the heading of; "" if of none."""
    said = line.strip()
    if len(said) > _LONGEST_HEAD:
        return ""
    return next((label for label, words in _RESUME_HEADS.items() if words.fullmatch(said)), "")
