// Makes a website of the documents. A module of its own, so that the Markdown parser is no
// dependency of the product.
module kafka-upstream/scripts/site

go 1.26

require github.com/yuin/goldmark v1.8.7
