/* The texts of the page in English and Chinese. */
const LANGUAGE = "maskling-language";
const CHINESE = {
  "the server does not respond; is it still running?": "服务器没有响应，它还在运行吗？",
  "The API key is wrong. Which is it?": "API 密钥不正确，请重新输入：",
  "The API key of this server:": "此服务器的 API 密钥：",
  "{task}, {layers} layers of {size}, {vocabulary} tokens, at most {length} per input":
    "{task}，{layers} 层，隐藏维度 {size}，词表 {vocabulary}，每个输入最多 {length} 个词元",
  endpoints: "接口",
  Language: "语言",
  Colours: "配色",
  automatic: "跟随系统",
  light: "浅色",
  dark: "深色",
  Views: "功能",
  Fill: "填空",
  Score: "评分",
  Generation: "生成",
  Similarity: "相似度",
  Attention: "注意力",
  Tokens: "分词",
  Predict: "预测",
  working: "计算中",
  Share: "分享",
  "Copy link": "复制链接",
  "Copy as curl": "复制 curl 命令",
  Copied: "已复制",
  Text: "文本",
  "Another example": "换一个例子",
  "Click a word to mask it, or write {mask}; click a prediction to insert it.": "点击词语将其遮盖，或直接输入 {mask}；点击候选词填入。",
  "The text is from the model's held-out data.": "文本取自该模型的留出数据。",
  "The text is from the model's training data.": "文本取自该模型的训练数据。",
  "The text is from the model card.": "文本取自模型卡。",
  candidates: "候选数",
  "whole words": "仅整词",
  "all masks together": "联合填充所有空位",
  "best fillings": "最佳填充",
  "mask {number}": "空位 {number}",
  predictions: "预测",
  "hidden: {word}": "原词：{word}",
  "The text was too long; the parts farthest from the masks were cut.": "文本过长，离空位最远的部分已被截断。",
  "words to mask": "可遮盖的词",
  "put {word} back": "恢复“{word}”",
  "mask {word}": "遮盖“{word}”",
  "Each word is hidden in turn, and the model gives the probability of the word that is there. Of two texts, the one with the higher sum is more probable.":
    "依次遮盖每个词，由模型给出原词的概率。两段文本中，对数概率之和较高的一段更可能出现。",
  "Text A": "文本 A",
  "Text B (may be empty)": "文本 B（可留空）",
  "log-probability {total}, {count} tokens, perplexity {perplexity} per token": "对数概率 {total}，{count} 个词元，每词元困惑度 {perplexity}",
  "log-probability of the word:": "该词的对数概率：",
  "A and B are equally probable": "A 与 B 的概率相同",
  "{which} is more probable": "{which} 更可能出现",
  "a factor of {times}": "相差 {times} 倍",
  "A masked model writes by filling masks in any order. Write {mask} in the text, one for each token, or let it continue the text.":
    "掩码语言模型按任意顺序填充空位来生成文本。可在文本中写入 {mask}（每个代表一个词元），或让模型续写。",
  Generate: "生成",
  "Another draw": "再抽一次",
  tokens: "词元数",
  order: "顺序",
  "most certain first": "置信度优先",
  "left to right": "从左到右",
  random: "随机",
  temperature: "温度",
  Pause: "暂停",
  Play: "播放",
  "step {step} of {last}": "第 {step} 步，共 {last} 步",
  "Below each token: the step that filled it, and its probability at that step.": "词元下方：填入它的步骤，以及当时的概率。",
  "all heads": "所有注意力头",
  "previous token": "前一个词元",
  "next token": "后一个词元",
  "same token": "自身",
  "first token": "首词元",
  "last token": "末词元",
  "few tokens": "少数词元",
  "many tokens": "许多词元",
  "How much each token draws from each other token, in one head or on average. Choose a token of the text to see where its attention goes, and where attention to it comes from.":
    "每个词元对其他词元的关注程度，可看单个注意力头或平均值。选择一个词元，查看它关注哪些词元，或哪些词元关注它。",
  Show: "显示",
  layer: "层",
  head: "头",
  heads: "注意力头",
  average: "平均",
  model: "模型",
  "highlight heads that look at": "突出关注以下对象的头",
  "rows: layers, columns: heads": "行：层，列：头",
  "{count} of {all} heads": "{all} 个头中的 {count} 个",
  attention: "注意力",
  "from the chosen token": "由所选词元发出",
  "to the chosen token": "指向所选词元",
  strongest: "最强",
  "attention map": "注意力图",
  "rows: from, columns: to; click a row to choose its token": "行：发出方，列：接收方；点击一行可选择其词元",
  "The text was too long; its end was cut.": "文本过长，末尾已被截断。",
  "The texts in the order of their similarity to the query: the cosine of their vectors. A model that was not trained to compare texts gives high values to all: compare the values with each other.":
    "按与查询的相似度（向量余弦）排序。未针对文本比较训练的模型对所有文本都给出较高的值，请相互比较数值。",
  Rank: "排序",
  Query: "查询",
  "Texts, one per line": "文本，每行一条",
  "only the first {most} of {count} lines are ranked": "共 {count} 行，仅对前 {most} 行排序",
  "texts by similarity": "按相似度排序的文本",
  "The pieces of the vocabulary that the model reads, each with its number.": "模型读取的词表单元及其编号。",
  Split: "分词",
  "{count} tokens": "{count} 个词元",
  "Two texts, like those the model was trained on.": "两段文本，与训练数据类似。",
  "A text, like those the model was trained on.": "一段文本，与训练数据类似。",
  "First text": "第一段文本",
  "Second text": "第二段文本",
  "No entities found.": "未找到实体。",
  "all as a list": "全部列出",
  labels: "标签",
  "A question, and a text that contains its answer.": "一个问题，以及包含答案的文本。",
  Answer: "回答",
  Question: "问题",
  "No answer in the text.": "文本中没有答案。",
  "no answer": "无答案",
};

let chosen = localStorage.getItem(LANGUAGE) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
document.documentElement.lang = chosen;

export const language = () => chosen;

export function chooseLanguage(one) {
  chosen = one;
  localStorage.setItem(LANGUAGE, one);
  document.documentElement.lang = one;
}

/* A text in the chosen language; {name} in it is replaced by values.name. */
export function say(text, values = {}) {
  const own = chosen === "zh" ? CHINESE[text] ?? text : text;
  return own.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
