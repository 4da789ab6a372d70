<%@ include file="/WEB-INF/common.jspf" %><%@ page buffer="256kb" %><!DOCTYPE html>
<html lang="zh-Hans">
<head><meta charset="UTF-8"><title>行政区划 - HIS</title><link rel="stylesheet" href="style.css"></head>
<body>
<nav><b>HIS</b> <a href="login.jsp">登录</a> <a href="divisions.jsp">行政区划</a> <a href="departments.jsp">科室</a> <a href="materials.jsp">物料</a></nav>
<h1>行政区划</h1>
<%
    // Each level: its table, the column of the parent's code, the level below it.
    String[][] levels = {{"provinces", null}, {"cities", "province_code"}, {"areas", "city_code"}, {"streets", "area_code"}};
    String parent = request.getParameter("parent");
    int level = parent == null ? 0 : parent.matches("[0-9]{2}") ? 1 : parent.matches("[0-9]{4}") ? 2 : parent.matches("[0-9]{6}") ? 3 : -1;
    if (level < 0) { response.sendError(400); return; }
    try (Connection db = open()) {
        List<Object[]> found = level == 0
            ? rows(db, "select code, name from provinces order by code")
            : rows(db, "select code, name from " + levels[level][0] + " where " + levels[level][1] + " = ? order by code", parent);
%>
<p class="note">省 <%= one(db, "select count(*) from provinces") %> · 市 <%= one(db, "select count(*) from cities") %> ·
  县区 <%= one(db, "select count(*) from areas") %> · 乡镇街道 <%= one(db, "select count(*) from streets") %></p>
<% if (parent != null) { %><p>上级:<%= html(parent) %> <a href="divisions.jsp">返回省级</a></p><% } %>
<table><tr><th>代码</th><th>名称</th></tr>
<%      for (Object[] row : found) { %>
<tr><td><%= html(row[0]) %></td><td><% if (level < 3) { %><a href="divisions.jsp?parent=<%= html(row[0]) %>"><%= html(row[1]) %></a><% } else { %><%= html(row[1]) %><% } %></td></tr>
<%      } %>
</table>
<%  } %>
</body></html>
